"""The one command. A verb's module is imported when it is called, so that `toddle --help` answers at once."""

import click

from toddle.lazy import Commands, LazyGroup

VERBS: Commands = {
    "launch": ("toddle.launch:launch", "Start a graph of nodes from a launch file."),
    "replay": ("toddle.replay:replay", "Play a recorded session as if its robot were there."),
    "robot": ("toddle.robot.command:robot", "Try, check and calibrate robots."),
    "record": ("toddle.record.command:record", "Record episodes of a robot for learning."),
    "emulate": ("toddle.emulate.command:emulate", "Be a robot that is not there, on the wire."),
    "jetbot-server": ("toddle.jetbot_server:jetbot_server", "Run on a JetBot: give its camera and motors to toddle."),
    "sessions": ("toddle.sessions.command:sessions", "List, show, verify and import recorded sessions."),
    "train": ("toddle.train:train", "Learn from recorded sessions."),
    "evaluate": ("toddle.evaluate:evaluate", "Score a run or a checkpoint against truth and baselines."),
    "checkpoints": ("toddle.checkpoints.command:checkpoints", "List, show, compare and prune what training kept."),
    "attention": ("toddle.attention:attention", "Draw and measure what a model reads when it predicts."),
    "view": ("toddle.view:view", "Look at a running graph or a recorded session."),
    "topic": ("toddle.topic:topic", "List, print and measure the topics of a running graph."),
    "ask": ("toddle.ask:ask", "Ask a node of a running graph to pause, step, seek and so on."),
    "top": ("toddle.top:top", "Watch the nodes of a running graph."),
    "graph": ("toddle.graph:graph", "Draw a launch file or a running graph."),
    "logs": ("toddle.logs:logs", "Read and follow the logs of a run."),
    "doctor": ("toddle.doctor.command:doctor", "Look for what is wrong on this machine, and say what to do."),
    "keys": ("toddle.keys:keys", "Make keys for graphs reached from other machines; say who may connect."),
    "completion": ("toddle.completion:completion", "Print the completion script of a shell."),
}


@click.group(cls=LazyGroup, commands_by_name=VERBS, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="toddle-robotics", prog_name="toddle")
def cli() -> None:
    """A robot learns, live, how the world answers its actions.

    Begin with: toddle launch launch/online.yaml
    """
