"""Rules that concern several keys of a layout at once, and the layout with its parents resolved. Pure."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from tenantry.core.errors import InvalidNameError
from tenantry.core.names import branch_name
from tenantry.manifest.findings import Finding, in_words, nearest, quoted
from tenantry.manifest.positions import KeyPath, dotted

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Iterator

    from tenantry.core.layout import App, Environment, Layout

__all__ = ["findings_across", "settled"]


def findings_across(layout: Layout, *, unread: Container[KeyPath] = ()) -> Iterator[Finding]:
    """Yield what is wrong between the parts of *layout*, whose parents stand as they are written.

    *unread* are the keys that have a finding of their own, so that nothing is concluded from their stand-ins.
    """
    yield from _collisions(layout)
    yield from _schemas(layout)
    yield from _branches(layout)
    for app in layout.apps:
        yield from _parents(app, layout.default_branch)
        yield from _cycles(app, layout.default_branch)
        yield from _ephemeral(app, layout.default_branch, unread)


def settled(layout: Layout) -> Layout:
    """Return *layout* with each parent an environment's name or None, and parents before their children.

    Environments otherwise keep the order of the file. *layout* must be free of findings.
    """
    return replace(layout, apps=tuple(_settled_app(app, layout.default_branch) for app in layout.apps))


def _path(environment: Environment, *key: str) -> KeyPath:
    return ("apps", environment.app, "environments", environment.name, *key)


def _parent_of(environment: Environment, app: App, default_branch: str) -> str | None:
    """The environment that is meant, None for the default branch.

    Another environment of the app goes before the default branch. An environment is never its own parent, so one
    that is named like the default branch, and names that as its parent, means the branch.
    """
    written = environment.parent
    if written is None or (written == environment.name == default_branch):
        return None
    if any(written == other.name for other in app.environments):
        return written
    return None if written == default_branch else written


def _settled_app(app: App, default_branch: str) -> App:
    resolved = {each.name: replace(each, parent=_parent_of(each, app, default_branch)) for each in app.environments}
    ordered: dict[str, Environment] = {}

    for each in resolved.values():
        line = [each]
        while (parent := line[-1].parent) is not None and parent not in ordered:
            line.append(resolved[parent])
        ordered |= {member.name: member for member in reversed(line)}
    return replace(app, environments=tuple(ordered.values()))


def _collisions(layout: Layout) -> Iterator[Finding]:
    yield from _same_when_folded("app", ((app.name, ("apps", app.name)) for app in layout.apps))
    for app in layout.apps:
        yield from _same_when_folded("environment", ((each.name, _path(each)) for each in app.environments))


def _same_when_folded(kind: str, named: Iterable[tuple[str, KeyPath]]) -> Iterator[Finding]:
    first: dict[str, str] = {}
    for name, path in named:
        other = first.setdefault(name.casefold(), name)
        if other != name:
            yield Finding(
                path, f"{kind} {quoted(name)} differs from {quoted(other)} only in case", "rename one of them"
            )


def _schemas(layout: Layout) -> Iterator[Finding]:
    first: dict[str, App] = {}
    for app in layout.apps:
        if not app.schema:
            continue
        path = ("apps", app.name, "schema")
        folded = app.schema.casefold()
        guarded = next((other for other in layout.apps if app.schema == other.guard_role), None)
        if guarded is not None:
            yield Finding(
                path,
                f"{quoted(app.schema)} is kept for what guards {dotted(('apps', guarded.name))}",
                "give the app a schema of another name",
            )
        # `neon_auth` is refused as a reserved name whether or not it is the schema of this layout.
        if folded == layout.auth_schema.casefold() != "neon_auth":
            yield Finding(path, f"{quoted(app.schema)} is the auth schema", "give the app a schema of its own")
        owner = first.setdefault(folded, app)
        if owner is not app:
            yield Finding(
                path,
                f"{quoted(app.schema)} is the schema of {dotted(('apps', owner.name))} as well",
                "give each app a schema of its own",
            )


def _branches(layout: Layout) -> Iterator[Finding]:
    default = layout.default_branch
    taken = {default.casefold(): ("", "")} if default else {}
    for app, environment in layout.environments():
        pair = (app.name.casefold(), environment.name.casefold())
        name = f"{app.name}-{environment.name}"
        other = taken.setdefault(name.casefold(), pair)
        if other == ("", ""):
            yield Finding(
                _path(environment), f"its branch {quoted(name)} is the default branch", "rename one of the two branches"
            )
        elif other != pair:
            others = dotted(("apps", other[0], "environments", other[1]))
            yield Finding(_path(environment), f"its branch {quoted(name)} is that of {others}", "rename one of them")
        yield from _branch_name(app, environment)


def _branch_name(app: App, environment: Environment) -> Iterator[Finding]:
    try:
        branch_name(app.name, environment.name)
    except InvalidNameError as exc:
        # The app's and the environment's own names have been looked at where they stand.
        if exc.kind == "branch":
            yield Finding(_path(environment), f"its branch {quoted(exc.value)} {exc.why}", exc.way_out)


def _parents(app: App, default_branch: str) -> Iterator[Finding]:
    names = [each.name for each in app.environments]
    for each in app.environments:
        parent = _parent_of(each, app, default_branch)
        # Without a readable default branch any name might be its.
        if parent is None or not default_branch or (parent in names and parent != each.name):
            continue
        others = [name for name in names if name != each.name]
        meant = nearest(parent, [*others, default_branch])
        fault = (
            "is the environment itself" if parent == each.name else f"is no environment of {dotted(('apps', app.name))}"
        )
        hint = f"did you mean `{meant}`? " if meant else ""
        there = f"there are {in_words([*others, default_branch], last='and')}, the default branch"
        yield Finding(_path(each, "parent"), f"parent {quoted(parent)} {fault}", hint + there)


def _cycles(app: App, default_branch: str) -> Iterator[Finding]:
    parents = {each.name: _parent_of(each, app, default_branch) for each in app.environments}
    seen: set[str] = set()
    for each in app.environments:
        line: list[str] = []
        name: str | None = each.name
        while name is not None and name in parents and name not in seen:
            seen.add(name)
            line.append(name)
            name = parents[name]
        # A line that meets itself again is a cycle; one that meets an earlier line is not. `a` in `a` is no cycle of
        # environments: it is reported as a parent that is the environment itself.
        if name in line and name != line[-1]:
            ring = line[line.index(name) :]
            shown = " → ".join([*ring, ring[0]])
            yield Finding(
                ("apps", app.name, "environments", ring[0], "parent"),
                f"its parents go in a circle: {shown}",
                "let one of them have the default branch as its parent: leave its `parent` out",
            )


def _ephemeral(app: App, default_branch: str, unread: Container[KeyPath]) -> Iterator[Finding]:
    by_name = {each.name: each for each in app.environments}
    for each in app.environments:
        parent = by_name.get(_parent_of(each, app, default_branch) or "")
        if parent and parent.ephemeral and not each.ephemeral and _path(each, "ephemeral") not in unread:
            yield Finding(
                _path(each, "parent"),
                f"parent {quoted(parent.name)} is ephemeral, so it may be reset at any time, and {each.name} is not",
                f"make {each.name} ephemeral too, or give it a parent that lasts",
            )
