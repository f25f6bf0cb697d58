from nodes.recorder.config import RecorderConfig
from nodes.recorder.node import RecorderNode
from nodes.runtime import main

if __name__ == "__main__":
    main(RecorderNode, RecorderConfig)
