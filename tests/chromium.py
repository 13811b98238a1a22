"""Headless Chromium driven through its debugging pipe: keys as a user presses them, requests and errors as
the browser sees them.

    with Chromium(program, profile_folder) as browser:
        browser.open("file:///page.html")
        browser.press("Tab")
        browser.value("document.activeElement.id")
        browser.requests, browser.complaints
"""
import fcntl
import json
import os
import select
import subprocess
import time

KEYS = {"Tab": ("Tab", 9, None), "ArrowRight": ("ArrowRight", 39, None), "Enter": ("Enter", 13, "\r")}
PATIENCE = 60  # seconds for an answer


class Chromium:
    def __init__(self, program, profile):
        self.number, self.buffer, self.requests, self.complaints, self.loaded = 0, b"", [], [], False
        to_browser, self.out = os.pipe()
        self.back, from_browser = os.pipe()
        # the browser reads descriptor 3 and writes 4: keep these two free until they are put there
        ends = [fcntl.fcntl(end, fcntl.F_DUPFD, 20) for end in (to_browser, from_browser)]

        def give_ends():
            os.dup2(ends[0], 3)
            os.dup2(ends[1], 4)
        self.process = subprocess.Popen(
            [program, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--remote-debugging-pipe",
             f"--user-data-dir={profile}", "about:blank"], preexec_fn=give_ends, close_fds=False, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL)
        for end in (to_browser, from_browser, *ends):
            os.close(end)
        self.session = None
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Network", "Runtime", "Log"):
            self.send(domain + ".enable")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        os.close(self.out)
        os.close(self.back)

    def receive(self):
        end = time.monotonic() + PATIENCE
        while b"\0" not in self.buffer:
            if not select.select([self.back], [], [], max(0, end - time.monotonic()))[0]:
                raise TimeoutError("the browser does not answer")
            part = os.read(self.back, 1 << 16)
            if not part:
                raise EOFError("the browser ended")
            self.buffer += part
        message, self.buffer = self.buffer.split(b"\0", 1)
        message = json.loads(message)
        what = message.get("method")
        if what == "Network.requestWillBeSent":
            self.requests.append(message["params"]["request"]["url"])
        elif what in ("Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded"):
            self.complaints.append(message["params"])
        elif what == "Page.loadEventFired":
            self.loaded = True
        return message

    def send(self, method, **parameters):
        self.number += 1
        message = {"id": self.number, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.out, json.dumps(message).encode() + b"\0")
        while True:
            answer = self.receive()
            if answer.get("id") == self.number:
                return answer["result"]

    def open(self, address):
        self.loaded = False
        self.send("Page.navigate", url=address)
        while not self.loaded:
            self.receive()

    def press(self, name):
        key, code, text = KEYS[name]
        own = {"key": key, "code": name, "windowsVirtualKeyCode": code}
        down = {"type": "keyDown", "text": text} if text else {"type": "rawKeyDown"}
        self.send("Input.dispatchKeyEvent", **down, **own)
        self.send("Input.dispatchKeyEvent", type="keyUp", **own)

    def value(self, expression):
        return self.send("Runtime.evaluate", expression=expression, returnByValue=True)["result"].get("value")
