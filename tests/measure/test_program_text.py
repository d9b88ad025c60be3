from vidx.measure import program_text

PROGRAM = """HloModule jit_step, is_scheduled=true

%sum (a: f32[], b: f32[]) -> f32[] {
  %a = f32[] parameter(0)
  %b = f32[] parameter(1)
  ROOT %add = f32[] add(%a, %b)
}

%fused_product (p.0: bf16[8,4], p.1: bf16[4,2]) -> bf16[8,2] {
  %p.0 = bf16[8,4]{1,0} parameter(0)
  %p.1 = bf16[4,2]{1,0} parameter(1)
  ROOT %conv = bf16[8,2]{1,0} convolution(%p.0, %p.1), dim_labels=bf_io->bf
}

%fused_transpose (p.2: f32[8,4]) -> f32[4,8] {
  %p.2 = f32[8,4]{1,0} parameter(0)
  ROOT %t = f32[4,8]{1,0} transpose(%p.2), dimensions={1,0}
}

%body (s: (s32[], f32[4,8])) -> (s32[], f32[4,8]) {
  %s = (s32[], f32[4,8]{1,0}) parameter(0)
  %i = s32[] get-tuple-element(%s), index=0
  %x = f32[4,8]{1,0} get-tuple-element(%s), index=1
  %twice = f32[4,8]{1,0} add(%x, %x), metadata={op_name="jit(step)/jvp(Net)/while/body/res2_0/norm/add"}, backend_config={"estimated_cycles":"10"}
  ROOT %out = (s32[], f32[4,8]{1,0}) tuple(%i, %twice)
}

%cond (s.1: (s32[], f32[4,8])) -> pred[] {
  %s.1 = (s32[], f32[4,8]{1,0}) parameter(0)
  ROOT %less = pred[] constant(true)
}

%quick (q: f32[4,8]) -> f32[4,8] {
  %q = f32[4,8]{1,0} parameter(0)
  ROOT %n = f32[4,8]{1,0} negate(%q), backend_config={"estimated_cycles":"1"}
}

%slow (r: f32[4,8]) -> f32[4,8] {
  %r = f32[4,8]{1,0} parameter(0)
  ROOT %e = f32[4,8]{1,0} sort(%r), dimensions={0}, backend_config={"estimated_cycles":"7"}
}

ENTRY %main (x.1: bf16[8,4], w: bf16[4,2], y: f32[8,4]) -> f32[4,8] {
  %x.1 = bf16[8,4]{1,0} parameter(0)
  %w = bf16[4,2]{1,0} parameter(1)
  %y = f32[8,4]{1,0} parameter(2)
  %product = bf16[8,2]{1,0} fusion(%x.1, %w), kind=kOutput, calls=%fused_product, metadata={op_name="jit(step)/transpose(jvp(Net))/Net.walk/res2_0/conv1/conv/conv_general_dilated"}, backend_config={"estimated_cycles":"100"}
  %turned = f32[4,8]{1,0} fusion(%y), kind=kLoop, calls=%fused_transpose, metadata={op_name="y"}, backend_config={"estimated_cycles":"20"}
  %all = f32[4,8]{1,0} all-reduce(%turned), replica_groups={{0,1}}, to_apply=%sum, backend_config={"estimated_cycles":"5"}
  %zero = s32[] constant(0)
  %start = (s32[], f32[4,8]{1,0}) tuple(%zero, %all)
  %loop = (s32[], f32[4,8]{1,0}) while(%start), condition=%cond, body=%body, backend_config={"known_trip_count":{"n":"6"}}
  %end = f32[4,8]{1,0} get-tuple-element(%loop), index=1
  %which = s32[] constant(1)
  ROOT %done = f32[4,8]{1,0} conditional(%which, %end, %end), branch_computations={%quick, %slow}
}
"""


def test_loops_count_as_often_as_they_go_round_and_choices_by_their_longest_branch():
  found = program_text.instructions(PROGRAM)
  assert [(i.op, i.kind, i.times, i.cycles) for i in found] == [
      ("fusion", "products", 1, 100), ("fusion", "layout", 1, 20), ("all-reduce", "collectives", 1, 5),
      ("add", "elementwise", 6, 60), ("sort", "sorts", 1, 7)]
  assert [i.moved for i in found] == [2 * (8 * 2 + 8 * 4 + 4 * 2), 2 * 4 * 32, 2 * 4 * 32, 6 * 3 * 4 * 32, 2 * 4 * 32]
  assert program_text.totals(found, lambda i: i.kind)["elementwise"] == {"cycles": 60, "moved": 2304, "count": 6}
  assert [i.shape for i in program_text.largest(i for i in found if i.kind == "layout")] == ["f32[4,8]{1,0}"]
  assert [i.cycles for i in program_text.largest(found)] == [100, 60, 20, 7, 5]


def test_a_loop_that_states_no_rounds_goes_round_as_often_as_its_condition_allows():
  unsaid = PROGRAM.replace(', backend_config={"known_trip_count":{"n":"6"}}', "")
  rounds = lambda text: next(i.times for i in program_text.instructions(text) if i.op == "add")
  assert rounds(unsaid) == 1
  counted = unsaid.replace("ROOT %less = pred[] constant(true)", """%limit = s32[]{:T(128)} constant(7)
  %at = s32[]{:T(128)} get-tuple-element(%s.1), index=0
  ROOT %less = pred[]{:T(512)} compare(%at, %limit), direction=LT, metadata={op_name="while/cond/lt"}""")
  assert rounds(counted) == 7 and rounds(counted.replace("direction=LT", "direction=NE")) == 1


def test_modules_are_the_networks_own_in_both_passes():
  found = program_text.instructions(PROGRAM)
  assert [program_text.module(i.scope) for i in found[:4]] == ["res2_0/conv1", "(no module)", "(no module)",
                                                              "res2_0/norm"]
  assert program_text.module(found[0].scope, 1) == "res2_0"


def test_sizes_of_shapes():
  assert program_text.size("(f32[2,3]{1,0:T(8,128)}, bf16[4], pred[])") == 24 + 8 + 1
  assert program_text.size("s4[3,2]") == 3


def test_custom_calls_of_matrix_libraries_are_products():
  text = """HloModule m

ENTRY %main (x: f32[2]) -> f32[2] {
  %x = f32[2]{0} parameter(0)
  %a = (f32[2]{0}, u8[0]{0}) custom-call(%x), custom_call_target="__cudnn$convForward"
  ROOT %b = f32[2]{0} custom-call(%x), custom_call_target="TopK"
}
"""
  assert [i.kind for i in program_text.instructions(text)] == ["products", "custom calls"]
  assert program_text.custom_calls(text) == {"__cudnn$convForward": 1, "TopK": 1}
