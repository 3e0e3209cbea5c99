"""The flags that commands share. Only syntax is judged here: what a value means is the library's."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import click

from unified_flux.text import safe


class Number(click.ParamType[Any]):
    """A number; whether it must be whole is the library's to say."""

    name = "number"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not isinstance(value, str):
            return value
        for kind in (int, float):
            try:
                return kind(value)
            except ValueError:
                continue
        raise click.BadParameter(f"{safe(value, 40)!r} is not a number", ctx, param)


class Size(click.ParamType[Any]):
    """`WxH` as two numbers."""

    name = "WxH"

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:
        return self.name

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        match = re.fullmatch(r"([0-9]{1,9})[xX×]([0-9]{1,9})", str(value))
        if not match:
            self.fail(f"{safe(value, 40)!r} is not WxH, such as 1024x768", param, ctx)
        return int(match[1]), int(match[2])


class Pair(click.ParamType[Any]):
    """`key=value`."""

    name = "key=value"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if isinstance(value, tuple):
            return value
        key, equals, text = str(value).partition("=")
        if not (key and equals):
            self.fail(f"{safe(value, 40)!r} is not key=value", param, ctx)
        return key, text


_CHOICE = (
    click.option("-p", "--provider", help="The provider to use."),
    click.option(
        "-m", "--model", help="A family such as flux-kontext-pro, or a provider's model id."
    ),
    click.option(
        "--sandbox", is_flag=True, help="Use the provider's emulator; nothing is charged."
    ),
)
_PROMPT = click.argument("prompt")
_OUTPUT = click.option(
    "-o", "--output", help="File, folder/ or template such as {prompt}-{seed}.png."
)
_SET = click.option(
    "--set", "sets", type=Pair(), multiple=True, help="The provider's own parameter (repeatable)."
)
_REQUEST = (
    click.option("-i", "--image", "images", multiple=True, help="Reference image: path, URL, data URI or - (repeatable)."),
    click.option("-n", type=Number(), help="How many pictures; each is paid."),
    click.option("--aspect-ratio", metavar="W:H"),
    click.option("--resolution", metavar="1K|2K"),
    click.option("--size", type=Size(), help="Pixels, instead of ratio and resolution."),
    click.option("--format", "output_format", metavar="png|jpeg"),
    click.option("--seed", type=Number()),
    click.option("--upsample/--no-upsample", "prompt_upsampling", default=None, help="Whether the provider may rewrite the prompt."),
    click.option("--safety", "safety_tolerance", type=Number(), help="0 (strict) to 6 (permissive)."),
    click.option("--translate/--no-translate", "translate_prompt", default=None, help="Whether the provider may translate the prompt."),
    click.option("--watermark", metavar="TEXT"),
    click.option("--allow", multiple=True, metavar="LOSS", help="Permit one loss: drop:FIELD or approximate:FIELD (repeatable); unknown-price permits what nobody can price."),
    click.option("--adapt", is_flag=True, help="Permit every loss but prompt and references."),
    click.option("--tag", "tags", multiple=True, metavar="TEXT", help="A word that the cost is reported under (repeatable)."),
    click.option("--request-id", "client_request_id", help="Your own id; the same request with it is not paid twice."),
    click.option("--force", is_flag=True, help="Overwrite files."),
)  # fmt: skip
_COMPARE = (
    click.option("-p", "--providers", "--provider", "providers", multiple=True, metavar="NAME,...", help="Only these providers."),
    click.option("-m", "--models", "--model", "models", multiple=True, metavar="NAME,...", help="These families or model ids instead of the configured one."),
    click.option("--sandbox", is_flag=True, help="Run the providers' emulators; nothing is charged."),
    click.option("--markdown", is_flag=True, help="The table in Markdown."),
    click.option("--run", is_flag=True, help="Make the pictures, and a page that shows them side by side."),
    click.option("--yes", is_flag=True, help="Do not ask before paying."),
    click.option("-o", "--output", help="Folder for the pictures and gallery.html of --run; by default a new one."),
)  # fmt: skip
again_option = click.option(
    "--again",
    is_flag=True,
    help="Pay once more, though the same request with this --request-id was made before.",
)
max_cost_option = click.option(
    "--max-cost", metavar="MONEY", help='The most that this may cost in all, such as "0.50 USD".'
)
queue_option = click.option(
    "--queue", metavar="ADDRESS", help="The PostgreSQL that workers share: postgresql://..."
)
timeout_option = click.option(
    "--timeout", type=Number(), help="Seconds until a picture must be done."
)
_TALK = (
    click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output."),
    click.option("-q", "--quiet", is_flag=True, help="Nothing on standard error but errors."),
    click.option("-v", "--verbose", is_flag=True, help="Say what happens, keys masked."),
)

Command = Callable[..., Any]


def all_of(*options: Callable[[Command], Command]) -> Callable[[Command], Command]:
    """Several options as one decorator."""

    def decorate(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


choice_options = all_of(*_CHOICE)
talk_options = all_of(*_TALK)
request_options = all_of(_PROMPT, *_CHOICE, _OUTPUT, _SET, *_REQUEST, timeout_option, *_TALK)
compare_options = all_of(_PROMPT, *_COMPARE, *_REQUEST, max_cost_option, timeout_option, *_TALK)
