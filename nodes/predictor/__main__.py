from nodes.predictor.config import PredictorConfig
from nodes.predictor.node import PredictorNode
from nodes.runtime import main

if __name__ == "__main__":
    main(PredictorNode, PredictorConfig)
