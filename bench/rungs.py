"""Rows about the isolation ladder: the same builds on every rung that this machine offers.

The floor of these rows is rung 1, measured in turn with the others.
"""
import os
import pwd
import shutil
import statistics
import subprocess
import sys

from measure import run


def find_users():
    """A user with subordinate ids, and one without; None where there is none."""
    try:
        ranges = {line.split(":")[0] for line in open("/etc/subuid")}
    except OSError:
        ranges = set()
    users = [user for user in pwd.getpwall() if user.pw_uid != 0]
    pick = lambda wanted: next((user for user in reversed(users)
                                if bool({user.pw_name, str(user.pw_uid)} & ranges) == wanted), None)
    return pick(True), pick(False)


class Rung:
    """One rung: who runs the builder, and how."""

    def __init__(self, bench, name, user=None, flags=()):
        self.bench, self.name, self.user, self.flags = bench, name, user, flags
        self.home = bench.path(f"rung-{name}")
        os.makedirs(self.home)
        if user:
            os.chown(self.home, user.pw_uid, user.pw_gid)

    def build(self, context, *flags):
        store = os.path.join(self.home, "store")
        command = [self.bench.builder, "build", "--root", store, "--progress=plain", *self.flags, *flags, context]
        if self.user:
            command = ["setpriv", f"--reuid={self.user.pw_uid}", f"--regid={self.user.pw_gid}", "--clear-groups", *command]
        return run(command, env={**os.environ, "HOME": self.home, "TMPDIR": self.home}, cwd=self.home)


class Rungs:
    """The rows."""

    def __init__(self, bench):
        self.bench = bench
        os.chmod(bench.dir, 0o755)
        ranged, single = find_users()
        self.all = [Rung(bench, "1")]
        if ranged:
            self.all.append(Rung(bench, "2", ranged))
        if single:
            self.all.append(Rung(bench, "3", single))
        self.all.append(Rung(bench, "4", flags=["--isolation=chroot"]))

    def must(self, rung):
        return {"1": "–", "4": "≤ 2 ×"}.get(rung.name, "≤ 1.3 ×")

    def compare(self, work, context, *flags):
        """One row a rung: builds in turn, so that what else the machine does hits all alike."""
        taken = {rung.name: [] for rung in self.all}
        for number in range(self.bench.runs + 1):
            for rung in self.all:
                result = rung.build(context, "--no-cache", *flags)
                print(f"{work}, rung {rung.name}: {result[0]:.3f} s", "(warm-up)" if number == 0 else "",
                      file=sys.stderr, flush=True)
                if number > 0:
                    taken[rung.name].append(result)
        floor = statistics.median(wall for wall, _ in taken["1"])
        for rung in self.all:
            wall = statistics.median(wall for wall, _ in taken[rung.name])
            peak = max(peak for _, peak in taken[rung.name])
            self.bench.row(f"{work}, rung {rung.name}", floor, (wall, peak), self.must(rung))

    def small_bases(self):
        for rung in self.all:
            rung.build(self.bench.path("base"), "-t", "base")

    def echo(self):
        self.small_bases()
        lines = ["FROM base"] + [f"RUN echo {n} > /x" for n in range(50)]
        self.bench.write("rungecho/Dockerfile", "\n".join(lines) + "\n")
        self.compare("50 × RUN echo", self.bench.path("rungecho"))

    def python(self):
        """The example: apt-get and pip from the network, so the figures are those of the day."""
        layout = self.debian()
        context = self.bench.path("rungpython")
        shutil.copytree(os.path.join(os.path.dirname(__file__), "..", "examples", "python-web"), context)
        flags = [f"--build-context=debian=oci-layout://{layout}:latest", "--build-arg=BASE=debian",
                 "--secret", "id=ca,src=/etc/ssl/certs/ca-certificates.crt"]
        self.compare("the Python application, cold", context, *flags)

    def debian(self):
        layout = self.bench.path("debian")
        tree = self.bench.path("debian-tree")
        subprocess.run(["mmdebstrap", "--variant=minbase", "--quiet", "bookworm", tree], check=True)
        for words in [["init", "--layout", layout], ["new", "--image", f"{layout}:latest"],
                      ["insert", "--image", f"{layout}:latest", tree, "/"]]:
            subprocess.run(["umoci", *words], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        subprocess.run(["chmod", "-R", "a+rX", layout], check=True)
        shutil.rmtree(tree)
        return layout

    def listing(self):
        """What RUN costs on rung 4 where 100,000 files are there and stay as they are: the first one, which
        lays them out and removes them in the end, and one more."""
        rung = self.all[-1]
        lower = self.bench.lower_directory(100000)
        context = self.bench.path("rungbig")
        os.makedirs(context)
        subprocess.run(["tar", "-C", lower, "-cf", os.path.join(context, "big.tar"), "."], check=True)
        self.bench.write("rungbig/Dockerfile", "FROM scratch\nADD big.tar /\n")
        rung.build(context, "-t", "rungbig")
        self.bench.write("rungbig1/Dockerfile", "FROM rungbig\nRUN echo\n")
        floors, firsts = [], []
        for number in range(self.bench.runs):
            copy = self.bench.path(f"rungcopy{number}")
            floors.append(run(["sh", "-c", 'cp -a "$1" "$2" && rm -r "$2"', "sh", lower, copy])[0])
            firsts.append(rung.build(self.bench.path("rungbig1"), "--no-cache"))
        first = statistics.median(wall for wall, _ in firsts)
        self.bench.row("first RUN echo on 100,000 files, rung 4 (floor: cp -a, rm)", statistics.median(floors),
                       (first, max(peak for _, peak in firsts)), "≤ 1.3 ×")
        times = {}
        for count in [2, 12]:
            lines = ["FROM rungbig"] + [f"RUN echo {n}" for n in range(count)]
            self.bench.write(f"rungbig{count}/Dockerfile", "\n".join(lines) + "\n")
            times[count] = self.bench.median(lambda: rung.build(self.bench.path(f"rungbig{count}"), "--no-cache"))
        one = (times[12][0] - times[2][0]) / 10
        walk, _ = self.bench.median(lambda: run(["find", lower, "-newerct", "tomorrow"]))
        self.bench.row("RUN echo on 100,000 unchanged files, rung 4 (floor: find)", walk, (one, times[12][1]), "≤ 0.5 s")

    def choice(self):
        """A build that has to know its rung against one that is told: the answer is kept."""
        self.small_bases()
        self.bench.write("rungone/Dockerfile", "FROM base\nRUN echo\n")
        context = self.bench.path("rungone")
        rung = self.all[0]
        told, kept = [], []
        for _ in range(20 * self.bench.runs):
            told.append(rung.build(context, "--no-cache", "--isolation=root"))
            kept.append(rung.build(context, "--no-cache"))
        middle = lambda taken: statistics.median(wall for wall, _ in taken)
        gap = max(middle(kept) - middle(told), 0)
        self.bench.row("choosing the rung, the answer kept (floor: the whole build)", middle(told), (gap, kept[0][1]), "≤ 3 ms")
