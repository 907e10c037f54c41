"""stub until written"""
from .config.run import TrainConfig
def cost_report(config: TrainConfig) -> str:
    raise NotImplementedError
