#!/usr/bin/python3
"""ci/check-layers against small trees: each rule broken once, with its line, and the good tree that keeps them all."""
import os
import subprocess
import tempfile
import unittest

CHECK = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "check-layers")

GOOD = {
    "base/include/wedge/point.h": "#include <stdint.h>\n",
    "base/rt/arena.h": "#include <wedge/point.h>\n",
    "base/err.h": '#include "base/rt/arena.h"\n',
    "base/CMakeLists.txt": "add_library(wedge-base STATIC err.c)\nadd_library(wedge::base ALIAS wedge-base)\n"
                           "target_link_libraries(wedge-base PUBLIC wedge-instrument)\n",
    "base/err.c": '#include "base/err.h"\n/* #include "cli/main.h" is only talk */\n',
    "pool/include/wedge/pool.h": "#include <wedge/point.h>\n",
    "pool/pool.c": '#include <wedge/pool.h>\n#include "base/err.h"\n',
    "pool/CMakeLists.txt": "add_library(wedge-pool SHARED pool.c)\n"
                           "target_link_libraries(wedge-pool PRIVATE wedge::base)\n",
    "pool/tests/test_pool.c": '#include "pool/tests/tools.h"\n#include <wedge/pool.h>\n',
    "pool/tests/tools.h": "#include <check.h>\n",
    "faults/plan.h": '#include "base/err.h"\n',
    "faults/plan.c": '#include "faults/plan.h"\n',
    "faults/agent.c": '#include "base/rt/arena.h"\n#include "faults/agent_table.h"\n#include <wedge/point.h>\n',
    "faults/agent_table.h": '#include "faults/functions.h"\n',
    "faults/functions.h": '#include <stdint.h>\n#include "base/rt/arena.h"\n',
    "faults/CMakeLists.txt": "# target_link_libraries(wedge-agent wedge::base) is only talk\n"
                             "add_library(wedge-agent SHARED agent.c)\n"
                             "target_link_libraries(wedge-agent PRIVATE wedge-flags)\n"
                             "add_library(wedge-plan STATIC plan.c)\n"
                             "add_library(wedge::plan ALIAS wedge-plan)\n"
                             "target_link_libraries(wedge-plan PUBLIC wedge::base)\n"
                             "wedge_add_unit_test(test_agent SOURCES tests/test_agent.c agent.c LIBS wedge::base)\n",
    "faults/tests/test_agent.c": '#include "faults/agent_table.h"\n#include "base/err.h"\n',
    "detector/model.h": '#include "base/err.h"\n',
    "detector/model.c": '#include "detector/model.h"\n',
    "detector/CMakeLists.txt": "add_library(wedge-detector STATIC model.c)\n"
                               "add_library(wedge::detector ALIAS wedge-detector)\n"
                               "target_link_libraries(wedge-detector PUBLIC wedge::base)\n",
    "reports/report.c": '#include "detector/model.h"\n#include "faults/plan.h"\n',
    "reports/CMakeLists.txt": "add_library(wedge-reports STATIC report.c)\n"
                              "add_library(wedge::reports ALIAS wedge-reports)\n"
                              "target_link_libraries(wedge-reports PUBLIC wedge::detector wedge::plan)\n",
    "cli/main.c": '#include "detector/model.h"\n#include <wedge/pool.h>\n',
    "cli/CMakeLists.txt": "add_executable(wedge main.c)\ntarget_link_libraries(wedge PRIVATE wedge::reports)\n",
}

# (what is broken, file, its text in the broken tree, line of the breach, words of the message)
BREACHES = [
    ("base includes upward", "base/err.h", '\n#include "cli/main.c"\n', 2, "may not include cli/main.c"),
    ("base/rt includes base", "base/rt/arena.h", '#include "base/err.h"\n', 1, "base/rt may not include base/err.h"),
    ("base/include includes base/rt", "base/include/wedge/point.h", '#include "base/rt/arena.h"\n', 1,
     "base/include may not include"),
    ("pool includes faults", "pool/pool.c", '#include "faults/plan.h"\n', 1, "pool may not include faults/plan.h"),
    ("faults includes the detector", "faults/plan.c", '#include "detector/model.h"\n', 1, "faults may not include"),
    ("detector includes pool's public header", "detector/model.c", "#include <wedge/pool.h>\n", 1,
     "detector may not include pool/include/wedge/pool.h"),
    ("detector includes reports", "detector/model.c", '\n\n#  include "reports/report.c"\n', 3,
     "detector may not include reports/report.c"),
    ("reports includes cli", "reports/report.c", '#include "cli/main.c"\n', 1, "reports may not include"),
    ("a test includes upward", "pool/tests/test_pool.c", '#include "reports/report.c"\n', 1, "pool may not include"),
    ("a public header includes a private one", "pool/include/wedge/pool.h", '#include "pool/tests/tools.h"\n', 1,
     "not installed"),
    ("code includes a test's header", "pool/pool.c", '#include "pool/tests/tools.h"\n', 1, "belongs to tests"),
    ("the agent includes base", "faults/agent.c", '#include "base/err.h"\n', 1, "agent may not include base/err.h"),
    ("the agent includes the plan", "faults/agent.c", '#include "faults/plan.h"\n', 1, "agent may not include"),
    ("the agent includes base by way of a table", "faults/functions.h", '#include "base/err.h"\n', 0,
     "agent may not include"),
    ("the agent compiles what needs base", "faults/CMakeLists.txt", GOOD["faults/CMakeLists.txt"].replace(
        "SHARED agent.c", "SHARED agent.c plan.c"), 2, "agent may not compile faults/plan.c"),
    ("the agent's folder counts as the agent", "faults/agent/act.c", '#include "faults/plan.h"\n', 1,
     "agent may not include"),
    ("an include that is relative to its file", "pool/pool.c", '#include "../base/err.h"\n', 1,
     "from the project's root"),
    ("an include without its folder", "base/err.c", '#include "err.h"\n', 1, "from the project's root"),
    ("an include of nothing", "base/err.c", '#include "base/gone.h"\n', 1, "is not there"),
    ("a public header of nothing", "base/err.c", "#include <wedge/gone.h>\n", 1, "no public header"),
    ("our header in angle brackets", "base/err.c", "#include <detector/model.h>\n", 1, "base may not include"),
    ("base links upward", "base/CMakeLists.txt",
     "add_library(wedge-base STATIC err.c)\nadd_library(wedge::base ALIAS wedge-base)\n"
     "target_link_libraries(wedge-base\n  PUBLIC wedge::reports)\n", 3, "wedge-base (base) may not link wedge-reports"),
    ("pool links faults", "pool/CMakeLists.txt",
     "add_library(wedge-pool SHARED pool.c)\ntarget_link_libraries(wedge-pool PRIVATE wedge::plan)\n", 2,
     "wedge-pool (pool) may not link wedge-plan"),
    ("a unit test links sideways", "pool/CMakeLists.txt",
     "add_library(wedge-pool SHARED pool.c)\n"
     "wedge_add_unit_test(test_pool SOURCES tests/test_pool.c LIBS wedge::detector)\n", 2,
     "test_pool (pool) may not link wedge-detector"),
    ("objects are links", "detector/CMakeLists.txt",
     "add_library(wedge-detector STATIC model.c)\nadd_library(wedge::detector ALIAS wedge-detector)\n"
     "target_link_libraries(wedge-detector PUBLIC $<TARGET_OBJECTS:wedge-plan>)\n", 3, "may not link wedge-plan"),
    ("a source of a higher folder", "base/CMakeLists.txt",
     "add_library(wedge-base STATIC err.c ../detector/model.c)\nadd_library(wedge::base ALIAS wedge-base)\n", 1,
     "may not compile detector/model.c"),
    ("a source by its full name", "base/CMakeLists.txt",
     "add_library(wedge-base STATIC ${PROJECT_SOURCE_DIR}/cli/main.c)\nadd_library(wedge::base ALIAS wedge-base)\n",
     1, "may not compile cli/main.c"),
    ("the agent links base", "faults/CMakeLists.txt", GOOD["faults/CMakeLists.txt"] +
     "target_link_libraries(wedge-agent PRIVATE wedge::base)\n", 8, "agent (wedge-agent) may not link wedge-base"),
    ("the agent's second object links base", "faults/CMakeLists.txt", GOOD["faults/CMakeLists.txt"] +
     "add_library(wedge-agent-heap SHARED agent.c)\n"
     "target_link_libraries(wedge-agent-heap PRIVATE wedge-agent wedge::base)\n", 9,
     "agent (wedge-agent-heap) may not link wedge-base"),
    ("the agent links a library of the system", "faults/CMakeLists.txt", GOOD["faults/CMakeLists.txt"] +
     "target_link_libraries(wedge-agent PRIVATE pthread)\n", 8, "agent (wedge-agent) may not link pthread"),
    ("the agent carries sanitizers", "faults/CMakeLists.txt", GOOD["faults/CMakeLists.txt"] +
     "target_link_libraries(wedge-agent PRIVATE wedge-instrument)\n", 8, "may not link wedge-instrument"),
    ("a link to nothing", "cli/CMakeLists.txt",
     "add_executable(wedge main.c)\ntarget_link_libraries(wedge PRIVATE wedge::gone)\n", 2, "no target of the tree"),
]


def check(files):
    with tempfile.TemporaryDirectory(prefix="wedge-layers-") as root:
        for path, text in files.items():
            os.makedirs(os.path.join(root, os.path.dirname(path)), exist_ok=True)
            with open(os.path.join(root, path), "w", encoding="utf-8") as file:
                file.write(text)
        run = subprocess.run([CHECK, root], capture_output=True, text=True, check=False)
        return run.returncode, run.stdout


class CheckLayers(unittest.TestCase):
    def test_good_tree_passes(self):
        status, output = check(GOOD)
        self.assertEqual((status, output.count("\n")), (0, 1), output)

    def test_each_breach_is_found_alone(self):
        for what, path, text, line, words in BREACHES:
            with self.subTest(what):
                status, output = check({**GOOD, path: text})
                self.assertEqual(status, 1, output)
                # Line 0: the breach is seen in the files that include this one.
                where = f"{path}:{line}: " if line else "faults/agent"
                found = [row for row in output.splitlines() if row.startswith(where)]
                self.assertGreaterEqual(len(found), 1, output)
                self.assertIn(words, found[0])
                self.assertIn(f"{len(found)} breaches", output)

    def test_build_folders_are_not_read(self):
        status, output = check({**GOOD, "build/x/base/bad.c": '#include "cli/main.c"\n'})
        self.assertEqual(status, 0, output)

    def test_bad_usage(self):
        for arguments in (["--what"], ["/", "/"], ["/nonexistent-folder"]):
            run = subprocess.run([CHECK, *arguments], capture_output=True, text=True, check=False)
            self.assertEqual(run.returncode, 2, arguments)


if __name__ == "__main__":
    unittest.main()
