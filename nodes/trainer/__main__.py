from nodes.runtime import main
from nodes.trainer.config import TrainerConfig
from nodes.trainer.node import TrainerNode

if __name__ == "__main__":
    main(TrainerNode, TrainerConfig)
