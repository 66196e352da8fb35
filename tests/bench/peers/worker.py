"""One contender in a process of its own, idle until it is asked.

Engines bring thread pools and allocators that would disturb each other in one process.  The parent (class Worker) starts
`python worker.py MODULE:CLASS JSON`, which builds CLASS(**JSON), warms it up and answers {"ready": facts}.  Each line on its
stdin is a request {"seconds": S} (run steps for at least so long; answer units and seconds) or {"call": name, "with": {…}}
(call a method).  Answers are lines of JSON on the stdout that the process began with; what libraries print goes to stderr.
"""
import importlib
import json
import os
import subprocess
import sys
import time


class Worker:
    alive = []

    def __init__(self, what, threads, **settings):
        environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
        settings["threads"] = threads
        with open("build/peers/workers.log", "a") as log:
            self.process = subprocess.Popen([sys.executable, __file__, what, json.dumps(settings)], env=environment, text=True,
                                            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log)
        Worker.alive.append(self)
        self.facts = self.answer()["ready"]

    def answer(self):
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"ended with {self.process.wait()} (build/peers/workers.log)")
        answer = json.loads(line)
        if "error" in answer:
            raise RuntimeError(answer["error"])
        return answer

    def ask(self, **request):
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        return self.answer()

    def rate(self, seconds):
        """units a second"""
        answer = self.ask(seconds=seconds)
        return answer["units"] / answer["seconds"]

    def call(self, name, **arguments):
        return self.ask(call=name, **{"with": arguments})["result"]

    @classmethod
    def close_all(cls):
        for worker in cls.alive:
            worker.process.stdin.close()
            worker.process.wait()
        cls.alive.clear()


def timed(contender, seconds):
    units, start = 0, time.perf_counter()
    while True:
        units += contender.step()
        spent = time.perf_counter() - start
        if spent >= seconds:
            return {"units": units, "seconds": spent}


def serve(answers):
    def say(**answer):
        print(json.dumps(answer), file=answers, flush=True)

    try:
        module, name = sys.argv[1].split(":")
        contender = getattr(importlib.import_module(module), name)(**json.loads(sys.argv[2]))
        say(ready=contender.facts)
        for line in sys.stdin:
            request = json.loads(line)
            if "call" in request:
                say(result=getattr(contender, request["call"])(**request["with"]))
            else:
                say(**timed(contender, request["seconds"]))
    except Exception as problem:
        say(error=f"{type(problem).__name__}: {problem}"[:400])
        raise


if __name__ == "__main__":
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    serve(answers)
