"""``stridelab play``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import Progress

from stridelab.cli.console import stderr, stdout
from stridelab.cli.policy import (
    PolicyArgument,
    TrackingOption,
    find_policy,
    in_changed_task,
    quiet_ray,
)
from stridelab.cli.study import OverridesArgument
from stridelab_envs.errors import UserError

if TYPE_CHECKING:
    from stridelab.export.bundle import Policy
    from stridelab.play.follow import Follower

_FILM_SECONDS = 20.0


def command(
    policy: PolicyArgument,
    overrides: OverridesArgument = None,
    video: Annotated[Path | None, typer.Option(help="MP4 file to write.")] = None,
    web: Annotated[bool, typer.Option("--web", help="Serve a viewer for the browser.")] = False,
    viewer: Annotated[bool, typer.Option("--viewer", help="Open a window.")] = False,
    follow: Annotated[
        bool, typer.Option("--follow", help="POLICY is a training: take its newest checkpoint.")
    ] = False,
    gamepad: Annotated[bool, typer.Option("--gamepad", help="Command with a gamepad.")] = False,
    seconds: Annotated[
        float | None, typer.Option(min=0.1, help="Length [s]; a film's is 20, others go on.")
    ] = None,
    num_envs: Annotated[int, typer.Option(min=1, help="Environments in one film.")] = 1,
    plain: Annotated[bool, typer.Option("--plain", help="Film the robots alone.")] = False,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the environments.")] = 0,
    host: Annotated[
        str, typer.Option(help="Address to listen on; anything else lets others in.")
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port of --web; 0 finds a free one from 8080.")
    ] = 0,
    tracking_uri: TrackingOption = None,
) -> None:
    """Watch a policy: film it, or play with it in a browser or a window.

    In browser and window the arrow keys command (page up and down the third number, home stops, end
    lets the task command again), and dragging with the control key held pulls at a body.
    """
    if [video is not None, web, viewer].count(True) != 1:
        raise UserError("say how to look: --video FILE, --web or --viewer")
    if video is not None:
        if follow or gamepad:
            raise UserError("--follow and --gamepad need --web or --viewer")
        loaded = in_changed_task(find_policy(policy, tracking_uri), overrides or [])
        _film(loaded, video, seconds or _FILM_SECONDS, num_envs=num_envs, plain=plain, seed=seed)
        return
    from stridelab.play.controls import Gamepad
    from stridelab.play.follow import Follower
    from stridelab.play.session import Session

    quiet_ray()
    inputs = (Gamepad(),) if gamepad else ()
    if follow and overrides:
        raise UserError("--follow plays in the task that is trained: no task.KEY=VALUE")
    follower = Follower(Path(policy)) if follow else None
    loaded = find_policy(policy, tracking_uri) if follower is None else follower.policy
    loaded = in_changed_task(loaded, overrides or [])
    session = Session(loaded, seed=seed, inputs=inputs)
    if viewer:
        from stridelab.play.window import watch

        watch(session, seconds=seconds, follower=follower)
        return
    from stridelab.play.web import LOOPBACK, serve

    if host != LOOPBACK:
        warning = "there is no password: whoever reaches this port sees and commands the robot"
        stderr.print(f"warning: {warning}", style="yellow", highlight=False, soft_wrap=True)
    serve(
        session,
        host=host,
        port=port,
        seconds=seconds,
        follower=follower,
        on_ready=lambda address: _say(f"{address}  (Ctrl-C ends)"),
        on_swap=lambda: _say(_taken(follower)),
    )


def _taken(follower: Follower | None) -> str:
    assert follower is not None, "only whoever follows takes newer policies"
    steps = follower.policy.description["env_steps"]
    return f"policy after {steps:,} steps: {follower.checkpoint}"


def _say(line: str) -> None:
    stdout.print(line, soft_wrap=True, highlight=False)


def _film(
    policy: Policy, video: Path, seconds: float, *, num_envs: int, plain: bool, seed: int
) -> None:
    from stridelab.evaluation.film import film_policy

    steps = round(seconds / policy.experiment.task_config().control_dt)
    with Progress(console=stderr, transient=True, disable=not stderr.is_terminal) as progress:
        bar = progress.add_task("filming", total=steps)
        files = film_policy(
            policy,
            video.with_suffix(""),
            seconds=seconds,
            num_envs=num_envs,
            seed=seed,
            plain=plain,
            on_step=lambda: progress.advance(bar),
        )
    for file in files:
        _say(str(file))
