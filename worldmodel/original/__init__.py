"""The original system's two models. timm is imported only here."""
