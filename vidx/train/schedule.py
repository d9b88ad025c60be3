"""Learning-rate schedules: functions of the step, made by optax."""

import collections

from ml_collections import ConfigDict
import optax

from vidx import errors

NAMES = ("cosine", "step", "linear", "constant", "plateau")


def make_schedule(config: ConfigDict, steps_per_epoch: float, total_steps: int,
                  batch_size: int) -> optax.Schedule:
  """step -> learning rate.

  `reference_batch=n` states that `peak` belongs to a batch of n clips: the rate
  is multiplied by batch_size / n. A `plateau` is constant here after the
  warm-up; its falls are a factor of the train state, set at evaluations.
  """
  errors.check_choice("schedule.name", config.name, NAMES)
  peak = float(config.peak)
  if config.reference_batch:
    peak *= batch_size / config.reference_batch
  warmup = round(config.warmup_epochs * steps_per_epoch)
  rest = max(1, total_steps - warmup)
  if config.name == "cosine":
    main = optax.cosine_decay_schedule(peak, rest, alpha=config.end)
  elif config.name == "linear":
    held = round(rest * config.hold)
    main = optax.linear_schedule(peak, peak * config.end, rest - held, held)
  elif config.name == "step":
    falls = collections.defaultdict(lambda: 1.0)
    for epoch in config.milestones:  # several may round to one step
      falls[round(epoch * steps_per_epoch) - warmup] *= config.factor
    main = optax.piecewise_constant_schedule(peak, falls)
  else:
    main = optax.constant_schedule(peak)
  if not warmup:
    return main
  rise = optax.linear_schedule(peak * config.warmup_from, peak, warmup)
  return optax.join_schedules([rise, main], [warmup])
