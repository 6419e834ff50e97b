"""Write YAML for people: keys in their order, text of several lines as a block, no aliases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import yaml


class _Dumper(yaml.SafeDumper):
    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        del indentless  # indent items below their key
        super().increase_indent(flow, False)

    def ignore_aliases(self, data: object) -> bool:
        del data
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar(
        "tag:yaml.org,2002:str", text, style="|" if "\n" in text else None
    )


_Dumper.add_representer(str, _text)


def write(sections: Mapping[str, object], comments: Sequence[str]) -> str:
    """Return a mapping as YAML, with comments above and an empty line between its keys."""
    head = "".join(f"# {' '.join(comment.split())}\n" for comment in comments)
    return head + "\n" + "\n".join(_dumped({name: section}) for name, section in sections.items())


def _dumped(section: Mapping[str, object]) -> str:
    text: str = yaml.dump(
        section, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=1 << 20
    )
    return text
