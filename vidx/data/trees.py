"""Trees of sentences: read from brackets, or cut by rules, and the phrases in them that have a noun.

  (ROOT (NP (NP (DT a) (NN hand)) (PP (IN with) (NP (DT a) (NN donut)))))

Brackets are those of the Penn Treebank, as any constituency parser writes them; the parser
itself is no part of vidx. Xiao: "Multimodal Learning with Minimal Human Supervision", 2020,
section 6.2.1.
"""

from collections.abc import Iterator, Sequence
import dataclasses
import re

from vidx.terminal import counted

_PART = re.compile(r"\(|\)|[^\s()]+")
_LETTER = re.compile(r"[^\W_]")
_ESCAPED = ("-LRB-", "-RRB-", "-LSB-", "-RSB-", "-LCB-", "-RCB-")  # brackets among the words
_WORD = re.compile(r"\w+")


class BrokenTree(ValueError):
  """Brackets that are no tree; the message says what is wrong and where."""


@dataclasses.dataclass(frozen=True)
class Node:
  """A phrase of a sentence, or a word.

  Attributes:
    label: of the phrase or the word, such as NP or NN.
    word: of a word; '' of a phrase.
    children: of a phrase.
  """

  label: str
  word: str = ""
  children: tuple["Node", ...] = ()

  def words(self) -> Iterator["Node"]:
    """The words below, from left to right."""
    if not self.children:
      yield self
    for child in self.children:
      yield from child.words()

  @property
  def is_noun(self) -> bool:
    """Whether it is a word whose tag is that of a noun: NN, NNS, NNP, NNPS."""
    return not self.children and self.label.startswith("NN")

  def brackets(self) -> str:
    """The tree as `parse` reads it."""
    inside = self.word if not self.children else " ".join(c.brackets() for c in self.children)
    return f"({self.label} {inside})"


@dataclasses.dataclass(frozen=True)
class Phrase:
  """A phrase with a noun.

  Attributes:
    text: its words, in small letters and without signs.
    parent: the place of the phrase that holds it, -1 of a root.
    leaf: whether it is one noun of the tree.
  """

  text: str
  parent: int
  leaf: bool


def plain(text: str) -> str:
  """A text as its words alone: runs of letters and digits, in small letters."""
  return " ".join(_WORD.findall(text.lower()))


def parse(text: str) -> Node:
  """Reads one tree.

  Raises:
    BrokenTree: brackets do not match, a bracket is empty, or something stands outside of the tree.
  """
  stack: list[tuple[str, list[Node], list[str]]] = []
  parts = list(_PART.finditer(text))
  if not parts:
    raise BrokenTree("no tree: it is empty")
  for i, part in enumerate(parts):
    word, at = part.group(), part.start() + 1
    if word == "(":
      stack.append(("", [], []))
    elif not stack:
      raise BrokenTree(f"'{word}' at character {at} stands outside of the brackets")
    elif word != ")":
      label, children, words = stack[-1]
      if not label and not children:
        stack[-1] = (word, children, words)
      elif children or words:
        raise BrokenTree(f"'{word}' at character {at}: a bracket holds one word or further brackets")
      else:
        words.append(word)
    else:
      label, children, words = stack.pop()
      if words and children or not (words or children):
        raise BrokenTree(f"the bracket that ends at character {at} holds "
                         + ("a word beside brackets" if words else "nothing"))
      node = Node(label, words[0] if words else "", tuple(children))
      if stack:
        stack[-1][1].append(node)
      elif i + 1 < len(parts):
        raise BrokenTree(f"'{parts[i + 1].group()}' at character {parts[i + 1].start() + 1} stands behind the tree")
      else:
        return node
  raise BrokenTree(f"{counted(len(stack), 'bracket')} without an end")


def phrases(tree: Node, most: int = 0) -> list[Phrase]:
  """The phrases with a noun, those nearer to the root first, so that a parent comes before its children.

  Signs are no words; a chain of phrases of the same words is one phrase; what has no noun,
  such as "with" or "on it", is left out with all below it.

  Args:
    tree: of a sentence.
    most: phrases to keep, from the root on; 0: all.
  """
  root = _kept(tree)
  if root is None:
    return []
  found, row = [], [(root, -1)]
  while row and not (most and len(found) >= most):
    below = []
    for node, parent in row[:most - len(found) if most else None]:
      found.append(Phrase(plain(" ".join(w.word for w in node.words())), parent, node.is_noun))
      below += [(child, len(found) - 1) for child in node.children if any(w.is_noun for w in child.words())]
    row = below
  return found


def leaves(tree: Node) -> list[str]:
  """The nouns of a sentence, from left to right, each once."""
  return list(dict.fromkeys(plain(w.word) for w in tree.words() if w.is_noun and _is_word(w)))


def _is_word(node: Node) -> bool:
  return bool(_LETTER.search(node.word)) and node.word not in _ESCAPED


def _kept(node: Node) -> Node | None:
  """The tree without signs, with chains collapsed; None where nothing with a noun is left."""
  def without_signs(node):
    if not node.children:
      return node if _is_word(node) else None
    children = tuple(c for c in map(without_signs, node.children) if c is not None)
    if len(children) == 1:
      return children[0]
    return dataclasses.replace(node, children=children) if children else None

  found = without_signs(node)
  return found if found is not None and any(w.is_noun for w in found.words()) else None


# ---------------------------------------------------------------- rules in place of a parser

_DETERMINERS = frozenset("a an the this these those some any each every no both several many few another"
                         " other his her its their my your our all one two three four five six seven eight"
                         " nine ten".split())
_PREPOSITIONS = frozenset("of in on at with by for from to into onto over under above below behind beside between near"
                          " through across along around against among inside outside toward towards up down off out"
                          " upon beneath next during before after about as like while without within amongst past"
                          " underneath atop via per than".split())
_VERBS = frozenset("is are was were be been being am has have had do does did can could will would may might"
                   " must should sit sits sat stand stands stood lie lies lay hold holds held wear wears wore"
                   " ride rides rode walk walks walked run runs ran eat eats ate look looks looked play plays"
                   " played fly flies flew jump jumps jumped show shows showed shown make makes made take"
                   " takes took taken put puts get gets got go goes went gone come comes came give gives gave"
                   " hit hits catch catches caught throw throws threw cut cuts cover covers covered fill fills"
                   " filled park parked drive drives drove drink drinks drank cook cooks cooked talk talks"
                   " talked tell tells told sing sings sang sung dance dances danced use uses used see sees"
                   " saw seen try tries tried watch watches watched speak speaks spoke explain explains move"
                   " moves moved turn turns turned add adds pour pours mix mixes stir stirs place places"
                   " placed".split())
_JOINERS = frozenset("that which who whose where when then there not also just very is are was were".split())
_CONJUNCTIONS = frozenset("and or but , ; :".split())
_PRONOUNS = frozenset("he she it they him them himself herself itself themselves i you we us me something someone"
                      " anything everything nothing who what".split())
_NOUNS_IN_ING = frozenset("building clothing wedding evening morning ceiling king ring string thing something anything"
                          " everything nothing wing spring sibling pudding railing painting wing sling icing stocking"
                          " earring crossing lightning frosting topping dining living".split())
_TOKEN = re.compile(r"\w+(?:['’-]\w+)*|[,;:]")


def chunk(sentence: str) -> Node:
  """A tree by rules alone: runs of words between prepositions, verbs and conjunctions, each in what stands before it.

  "a man cutting sandwich on a table" becomes a man, (cutting (sandwich (on (a table)))). Of a
  run the last word is its noun. It needs no model, and is no parser: give trees of one where
  there are any.

  Raises:
    ValueError: a sentence without a word.
  """
  runs = _runs(_TOKEN.findall(sentence.lower()))
  if not runs:
    raise ValueError("a sentence without a word")
  return Node("ROOT", children=(_nested(runs),))


def _runs(tokens: Sequence[str]) -> list[tuple[str, list[str]]]:
  """(kind, words), neighbours of one kind together: NP, V, P or CC."""
  runs: list[tuple[str, list[str]]] = []
  for token in tokens:
    kind = _kind(token, runs)
    starts = kind == "NP" and token in _DETERMINERS and runs and any(w not in _DETERMINERS for w in runs[-1][1])
    if runs and runs[-1][0] == kind and not starts:
      runs[-1][1].append(token)
    else:
      runs.append((kind, [token]))
  return runs


def _kind(token: str, runs: Sequence[tuple[str, list[str]]]) -> str:
  if token in _CONJUNCTIONS:
    return "CC"
  inside = bool(runs) and runs[-1][0] == "NP" and all(w in _DETERMINERS for w in runs[-1][1])  # behind a or the
  if token in _PREPOSITIONS and not inside or token == "front" and runs and runs[-1][1][-1] == "in":
    return "P"
  if (token in _VERBS or token in _JOINERS) and not inside or token in _PRONOUNS:
    return "V"
  if token.endswith("ing") and len(token) > 4 and token not in _NOUNS_IN_ING and not inside:
    return "V"
  return "NP"


def _nested(runs: Sequence[tuple[str, list[str]]]) -> Node:
  """Every run holds what comes behind it."""
  (kind, words), rest = runs[0], runs[1:]
  here = _flat(kind, words)
  if not rest:
    return here
  if kind != "NP":
    label = {"V": "VP", "P": "PP", "CC": "NP"}[kind]
    return Node(label, children=(here, _nested(rest)))
  if rest[0][0] == "CC":
    return Node("NP", children=(here, _nested(rest)))
  return Node("S" if rest[0][0] == "V" else "NP", children=(here, _nested(rest)))


def _flat(kind: str, words: Sequence[str]) -> Node:
  if kind != "NP":
    tag = {"V": "VB", "P": "IN", "CC": "CC"}[kind]
    found = tuple(Node(tag, w) for w in words)
    return found[0] if len(found) == 1 else Node("X", children=found)
  last = max((i for i, w in enumerate(words) if w not in _DETERMINERS and not w.isdecimal()), default=-1)
  tag = lambda i, w: "NN" if i == last else "DT" if w in _DETERMINERS else "JJ"
  return Node("NP", children=tuple(Node(tag(i, w), w) for i, w in enumerate(words)))
