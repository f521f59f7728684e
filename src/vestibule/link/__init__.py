"""What the control process and its workers say to each other: sans-IO.

`messages` are the words, `frame` is how they lie on the socket, `ends` are the two speakers.

Not here: the sockets (`worker.py` and `control/supervisor.py` own one end each).
"""
