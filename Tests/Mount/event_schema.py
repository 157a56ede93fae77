"""Holds events against Sources/Notifications/event.schema.json."""
import json, os, sys

try:
    import jsonschema
except ImportError:
    # A Python beside Debian's does not see Debian's packages.
    sys.path.append('/usr/lib/python3/dist-packages')
    import jsonschema

PATH = os.path.join(os.path.dirname(os.path.abspath(__file__)), '../../Sources/Notifications/event.schema.json')
with open(PATH) as _file: _SCHEMA = json.load(_file)
jsonschema.Draft202012Validator.check_schema(_SCHEMA)
_VALIDATOR = jsonschema.Draft202012Validator(_SCHEMA)


def problem(events):
    """The first thing that is wrong with one of them; None for nothing."""
    for number, event in enumerate(events, 1):
        for error in _VALIDATOR.iter_errors(event):
            return 'event %d: %s: %s' % (number, '/'.join(map(str, error.absolute_path)), error.message[:300])
    return None
