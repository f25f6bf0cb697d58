"""What is said between toddle's processes: messages, topics, the codec, the bus."""
