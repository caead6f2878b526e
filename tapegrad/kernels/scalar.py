import math
def mul(x, y):
    return x * y
def cos(x):
    return math.cos(x)
def sin(x):
    return math.sin(x)
