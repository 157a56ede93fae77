"""Holds events against Sources/Notifications/event.schema.json, and those in OCSF's words against that of their class."""
import json, os, sys

try:
    import jsonschema
except ImportError:
    # A Python beside Debian's does not see Debian's packages.
    sys.path.append('/usr/lib/python3/dist-packages')
    import jsonschema

_HERE = os.path.dirname(os.path.abspath(__file__))
PATH = os.path.join(_HERE, '../../Sources/Notifications/event.schema.json')
_OCSF_PATH = os.path.join(_HERE, '../NotificationsTests/Golden/ocsf.schema.json')


def _validator(path, definition=None):
    with open(path) as f: schema = json.load(f)
    if definition: schema['$ref'] = '#/$defs/' + definition
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


_VALIDATOR = _validator(PATH)
_OCSF = {number: _validator(_OCSF_PATH, 'class_%d' % number) for number in (0, 1007, 201001, 201002)}


class Invalid(Exception): pass


def problem(events):
    """The first thing that is wrong with one of them, in `ecs` or `ocsf`; None for nothing."""
    for number, event in enumerate(events, 1):
        validator = _VALIDATOR
        if 'class_uid' in event:
            validator = _OCSF.get(event['class_uid'])
            if validator is None: return 'event %d: no class %s' % (number, event['class_uid'])
        for error in validator.iter_errors(event):
            return 'event %d: %s: %s' % (number, '/'.join(map(str, error.absolute_path)), error.message[:300])
    return None


def hold(log):
    """Every whole line of a log in `ecs` or `ocsf`, if it is there: called wherever a mount with a log ends. Raises Invalid."""
    # What is no file, as a pipe, cannot be read again.
    if not os.path.isfile(log): return
    with open(log, newline='\n') as f: found = problem(json.loads(line) for line in f if line.endswith('\n'))
    if found: raise Invalid('%s: %s' % (log, found))
