from nodes.trainer.config import TrainerConfig
from nodes.trainer.node import TrainerNode
from nodes.runtime import main

if __name__ == "__main__":
    main(TrainerNode, TrainerConfig)
