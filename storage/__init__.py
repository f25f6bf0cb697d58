"""What is kept: sessions of recorded messages in LMDB, their reader and writer, retention and imports."""
