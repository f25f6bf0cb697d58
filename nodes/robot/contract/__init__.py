"""Does a driver keep the contract of `nodes/robot/interface.py`?"""
