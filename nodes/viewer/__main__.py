from nodes.viewer.config import ViewerConfig
from nodes.viewer.node import ViewerNode
from nodes.runtime import main

if __name__ == "__main__":
    main(ViewerNode, ViewerConfig)
