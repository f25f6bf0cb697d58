from nodes.runtime import main
from nodes.viewer.config import ViewerConfig
from nodes.viewer.node import ViewerNode

if __name__ == "__main__":
    main(ViewerNode, ViewerConfig)
