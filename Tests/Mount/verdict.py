"""How a check tells what it saw: a line for each check, and the sum at the end."""
import sys

passed = failed = 0


def check(name, good, detail=''):
    """Prints PASS or FAIL; `detail` is what was seen instead."""
    global passed, failed
    if good: passed += 1
    else: failed += 1
    print('%s %s%s' % ('PASS' if good else 'FAIL', name, '' if good else '\n     ' + str(detail)[:2000]), flush=True)


def close():
    """Prints the sum and ends the program: with 1 when anything failed, or nothing was checked."""
    print('%d passed, %d failed' % (passed, failed))
    sys.exit(0 if passed and not failed else 1)
