"""onnxruntime as a process that waits: each line of standard input is a number of passes, each answer a line
with the median seconds of them.

    ort_worker.py MODEL THREADS INPUT.npz
"""
import statistics
import sys
import time

import numpy as np
import onnxruntime

options = onnxruntime.SessionOptions()
options.intra_op_num_threads = int(sys.argv[2])
options.inter_op_num_threads = 1
# threads that wait must not take processors from the program measured next
options.add_session_config_entry("session.force_spinning_stop", "1")
session = onnxruntime.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
given = dict(np.load(sys.argv[3]))
feeds = {i.name: given[i.name] for i in session.get_inputs()}
session.run(None, feeds)
print("ready", onnxruntime.__version__, flush=True)
for line in sys.stdin:
    seconds = []
    for _ in range(int(line)):
        start = time.perf_counter()
        session.run(None, feeds)
        seconds.append(time.perf_counter() - start)
    print(statistics.median(seconds), flush=True)
