"""What a server has to read of IMAP: a command with its strings, atoms, lists and literals."""
import re

LITERAL = re.compile(rb"~?\{(\d+)(\+?)\}$")
_TOKEN = re.compile(rb'(?P<item>(?:BODY|BINARY)(?:\.PEEK)?\[[^\]]*\](?:<[^>]*>)?)|"(?P<quoted>(?:\\.|[^"\\])*)"'
                    rb'|(?P<paren>[()])|(?P<atom>[^\s()"]+)', re.I)


class Gone(Exception):
    """The connection is over."""


class Refused(Exception):
    """Tagged NO or BAD with this text."""


def tokens_into(stack, text):
    """Adds the words of a line to the innermost list of the stack: strings and atoms as bytes, lists as lists."""
    for found in _TOKEN.finditer(text):
        if found["paren"] == b"(":
            stack.append([])
        elif found["paren"] == b")":
            if len(stack) == 1:
                raise Refused("BAD parentheses")
            done = stack.pop()
            stack[-1].append(done)
        elif found["quoted"] is not None:
            stack[-1].append(re.sub(rb"\\(.)", rb"\1", found["quoted"]))
        else:
            stack[-1].append(found["item"] or found["atom"])


def quoted(name):
    return b'"' + name.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'


def words(items):
    return b"(" + b" ".join(items) + b")"
