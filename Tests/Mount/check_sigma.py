#!/usr/bin/env python3
"""check_sigma.py BINARY [--only NAME,…]

Drives real mounts of sample hives whose policy has Sigma rules: rules that tell and rules that refuse, who acts, audit mode, what is left
out, rules that change while the mount is served (SEMANTICS 12.1 to 12.8). Needs root.

BINARY is regward; make-hive-samples lies beside it. Prints PASS or FAIL and a name for each check and closes with
`N passed, M failed`; exits with 1 when anything failed. Wants python3-jsonschema. Leaves no mount, no process and no file behind.
"""
import json, os, shutil, signal, sys

import check_control as control
from check_control import DOMAIN, HOSTNAME, Mount, echo, expect, is_refused, read, run, wait_for

CHECKS = []
START = 'ControlSet001/Services/Tcpip/Start'
SHELL = os.path.realpath(shutil.which('sh'))


def check(function):
    CHECKS.append(function)
    return function


def rule(id, detection, category='registry_set', title=None, level='high'):
    return '''title: %s
id: %s
tags: [attack.persistence, attack.t1543.003]
logsource: { category: %s, product: windows }
detection:
  %s
  condition: selection
level: %s
''' % (title or 'Title of ' + id, id, category, detection, level)


NAMES = rule('names', r"selection: { TargetObject: 'HKLM\System\CurrentControlSet\Services\Tcpip\Parameters\\*name' }")
OFF = rule('off', r"selection: { TargetObject|endswith: '\Start', Details: DWORD (0x00000004) }", level='critical')
KEYS = rule('keys', r"selection: { TargetObject|contains: '\Services\Evil' }", category='registry_event')


class RuledMount(Mount):
    def __init__(self, rules, section='', more='', options=''):
        super().__init__('version: 1\n%s\nsigma: { path: rules%s }\n' % (more, section and ', ' + section), options=options)
        self.more = more
        os.mkdir(self.rules(''))
        for name, text in rules.items(): self.write_rule(name, text)

    def rules(self, name): return os.path.join(self.folder, 'rules', name)

    def write_rule(self, name, text):
        os.makedirs(os.path.dirname(self.rules(name)), exist_ok=True)
        with open(self.rules(name), 'w') as f: f.write(text)

    def write_section(self, section): self.write_policy('version: 1\n%s\nsigma: { path: rules%s }\n' % (self.more, section and ', ' + section))

    def operations(self): return [e for e in self.events() if e['event']['dataset'] == 'regward.registry']

    def events_after(self, count):
        wait_for('%d events' % count, lambda: len(self.operations()) >= count)
        return self.operations()


def fired(event): return [r['id'] for r in event['regward'].get('sigma', [])]


def write(path, text):
    """Errors of the close count."""
    descriptor = os.open(path, os.O_WRONLY | os.O_TRUNC)
    try: os.write(descriptor, text.encode())
    finally: os.close(descriptor)


# ---------------------------------------------------------------- rules that tell

@check
def annotate():
    """SEMANTICS 12.3, 12.5 and 12.7."""
    with RuledMount({'a.yml': NAMES, 'deep/b.yaml': OFF + '---\n' + KEYS}) as m:
        expect('tell: nothing is refused', echo('host', m.file(HOSTNAME)) and echo('domain', m.file(DOMAIN)) and echo('4', m.file(START)))
        os.mkdir(m.file('ControlSet001/Services/Evil'))
        os.mkdir(m.file('ControlSet001/Services/Good'))
        os.rmdir(m.file('ControlSet001/Services/Evil'))
        events = m.events_after(4)
        told = [(e['event']['action'].replace('RegNtPost', ''), fired(e)) for e in events]
        expect('tell: what fires is an event, and nothing else', told == [
            ('SetValueKey', ['names']), ('SetValueKey', ['off']), ('CreateKeyEx', ['keys']), ('DeleteKey', ['keys'])], told)
        expect('tell: no number is missing', [e['event']['sequence'] for e in events] == [1, 2, 3, 4])
        event = events[1]
        expect('tell: in the words of ECS', event['rule'] == {'id': 'off', 'name': 'Title of off'} and event['event']['severity'] == 99
               and event['tags'] == ['attack.persistence', 'attack.t1543.003']
               and event['threat']['technique'] == {'id': ['T1543'], 'subtechnique': {'id': ['T1543.003']}}, event)
        expect('tell: with file and line', event['regward']['sigma'][0]['source'].endswith('/rules/deep/b.yaml:1')
               and events[2]['regward']['sigma'][0]['source'].endswith('/rules/deep/b.yaml:10'), events[2]['regward']['sigma'])
        expect('tell: in the words of Sysmon', event['winlog']['event_data']['RuleName'] == 'Title of off'
               and event['winlog']['event_data']['TargetObject'] == 'HKLM\\System\\CurrentControlSet\\Services\\Tcpip\\Start', event['winlog'])
        code, text = run([control.REGWARD, 'events', '--sigma', '*OF OFF', m.log])
        expect('regward events --sigma', code == 0 and text.count('\n') == 1 and 'Sigma: Title of off (critical)' in text, text)
        page = os.path.join(m.folder, 'page.html')
        code, text = run([control.REGWARD, 'report', '-o', page, m.log])
        expect('regward report sums them up', code == 0 and 'Sigma rules' in read(page) and '<td>Title of keys</td><td>high</td><td class="number">2</td>' in read(page), text)
        code, text = run([control.REGWARD, 'status', m.path])
        expect('regward status and the statistics count them', '3 Sigma rules' in text and 'regward_rules{kind="sigma"} 3\n' in m.stats(), text)
        code, text = run([control.REGWARD, 'rules', 'lint', m.policy])
        expect('regward rules lint counts them', code == 0 and '3 Sigma rules in 2 files' in text, text)


@check
def beside_other_rules():
    more = r'monitored: [{id: own, key: HKLM\SYSTEM\CurrentControlSet\Services\Tcpip\Parameters, rules: [SetValueKeyOperation], values: [{name: Domain, rules: [SetValueDenied]}]}]'
    both = NAMES.replace('*name', '*')
    with RuledMount({'a.yml': both}, more=more) as m:
        echo('host', m.file(HOSTNAME))
        expect('beside: the policy refuses as before', not echo('x', m.file(DOMAIN)))
        done, refused = sorted(m.events_after(2), key=lambda e: 'denied' in e['event']['type'])
        for event in (done, refused):
            expect('beside: the policy\'s rule comes first', event['rule']['id'] == ['own', 'names'] and event['rule']['name'] == ['own', 'Title of names'], event['rule'])
            expect('beside: and its place stays', ':2' in event['regward']['rule_source'] and event['winlog']['event_data']['RuleName'] == 'own; Title of names')
        expect('beside: the refusal is one', refused['event']['type'] == ['change', 'denied'])


# ---------------------------------------------------------------- rules that refuse

@check
def deny():
    """SEMANTICS 12.6."""
    with RuledMount({'a.yml': NAMES, 'b.yml': OFF, 'c.yml': KEYS}, 'deny: [names, off, keys]') as m:
        before = read(m.file(START))
        expect('deny: refused at the open', is_refused(lambda: open(m.file(HOSTNAME), 'w')))
        expect('deny: its neighbour is not', echo('domain', m.file(DOMAIN)))
        expect('deny: the data decides when it is set', is_refused(lambda: write(m.file(START), '4')) and read(m.file(START)) == before)
        write(m.file(START), '2')
        expect('deny: other data goes through', read(m.file(START)) == '2\n', read(m.file(START)))
        expect('deny: a key', is_refused(lambda: os.mkdir(m.file('ControlSet001/Services/Evil'))))
        expect('deny: another set is not the one in use', not is_refused(lambda: os.mkdir(m.file('ControlSet002/Services/Tcpip2'))))
        events = m.events_after(3)
        told = sorted((e['event']['action'].replace('RegNtPre', ''), e['rule']['id'], e['rule']['name']) for e in events)
        expect('deny: each is an event', told == [('CreateKeyEx', 'keys', 'Title of keys'), ('SetValueKey', 'names', 'Title of names'), ('SetValueKey', 'off', 'Title of off')], told)
        expect('deny: with file and line', all('denied' in e['event']['type'] and e['regward']['rule_source'].endswith('.yml:1') for e in events))
        code, text = run([control.REGWARD, 'why', m.file(HOSTNAME)])
        expect('deny: regward why', code == 0 and 'rule:      names (Sigma rule: Title of names)' in text and '/rules/a.yml:1' in text, text)
        code, text = run([control.REGWARD, 'rules', 'can-i', 'set', m.file(HOSTNAME)])
        expect('deny: can-i says no', code == 1 and "'names'" in text, (code, text))
        code, text = run([control.REGWARD, 'rules', 'can-i', 'set', m.file(START)])
        expect('deny: can-i says what rests on the data', code == 0 and 'by the data' in text, (code, text))
        code, text = run([control.REGWARD, 'rules', 'list', m.path])
        expect('deny: the rules are listed with their hits', code == 0 and 'names' in text and '/rules/c.yml:1' in text, text)
        code, text = run([control.REGWARD, 'rules', 'lint', m.policy])
        expect('deny: lint counts them', code == 0 and '3 of them deny' in text, text)


@check
def by_the_leave_of_an_open():
    """SEMANTICS 12.6: a handle that was only emptied or made sets at its end what it was not opened with."""
    evil = rule('evil', r"""selection: { TargetObject|contains: '\Tcpip\', Details: ['*evil*', '(Empty)', DWORD (0x00000004)] }""")
    with RuledMount({'a.yml': evil}, 'deny: [evil]') as m:
        parameters = os.path.dirname(m.file(HOSTNAME))
        write(m.file(HOSTNAME), 'good')

        def refused(name, count, step, path, expected):
            step()
            m.events_after(count)
            expect('leave: ' + name, (read(path) if os.path.exists(path) else None) == expected, read(path) if os.path.exists(path) else None)

        def emptied(): open(m.file(HOSTNAME), 'w').close()
        refused('emptied', 1, emptied, m.file(HOSTNAME), 'good\n')

        def by_attribute():
            handle = os.open(m.file(START), os.O_WRONLY | os.O_TRUNC)
            os.setxattr(m.file(START), 'user.reg.data', bytes([4, 0, 0, 0]))
            os.close(handle)
        before = read(m.file(START))
        refused('data by an attribute', 2, by_attribute, m.file(START), before)

        made = os.path.join(parameters, 'made')
        def by_another_handle():
            first = os.open(made, os.O_WRONLY | os.O_CREAT)
            expect('leave: the writer is refused', is_refused(lambda: write(made, 'evil')))
            os.close(first)
        refused('text of a handle that wrote nothing', 4, by_another_handle, made, None)

        lost = []
        for number in range(200):
            path = os.path.join(parameters, 'new%d' % number)
            handle = os.open(path, os.O_WRONLY | os.O_CREAT)
            os.write(handle, b'evil')
            try: os.close(handle)
            except OSError: pass
            with open(path, 'w') as file: file.write('good')
            if not os.path.exists(path) or read(path) != 'good\n': lost.append(number)
        expect('leave: what is written after a refusal is there', not lost, lost[:9])


@check
def audit():
    with RuledMount({'a.yml': NAMES}, 'deny: [names]', more='mode: audit') as m:
        expect('audit: nothing is refused', echo('host', m.file(HOSTNAME)) and read(m.file(HOSTNAME)) == 'host\n')
        events = m.events_after(1)
        expect('audit: it says so', all(e['regward'].get('audited') for e in events) and events[0]['rule']['id'] == 'names'
               and events[0]['message'].startswith('would be refused'), events[0]['message'])


@check
def actor():
    """SEMANTICS 12.3: who acts is who the policy says, to rules and to Sysmon's readers."""
    by_editor = rule('editor', r"selection: { TargetObject|contains: Tcpip, Image|endswith: '\regedit.exe' }")
    section = r"deny: [editor], actor: { %s: 'C:\Windows\regedit.exe' }" % SHELL
    with RuledMount({'a.yml': by_editor, 'b.yml': NAMES}, section, options='log-to=sysmon=' + os.path.join(control.WORK, 'sysmon.log')) as m:
        expect('actor: the shell is the editor', not echo('host', m.file(HOSTNAME)))
        code, text = run(['cp', '/proc/sys/kernel/ostype', m.file(HOSTNAME)])
        expect('actor: nobody else is', code == 0, text)
        refused, done = m.events_after(2)
        expect('actor: Sysmon\'s Image is the mapped one', refused['winlog']['event_data']['Image'] == 'C:\\Windows\\regedit.exe')
        expect('actor: process.executable is the truth', refused['process']['executable'] == SHELL, refused['process'])
        expect('actor: who is not mapped is who he is', done['winlog']['event_data']['Image'] == done['process']['executable'], done['winlog'])
        wait_for('the other log', lambda: len(read(os.path.join(control.WORK, 'sysmon.log')).splitlines()) == 2)
        data = json.loads(read(os.path.join(control.WORK, 'sysmon.log')).splitlines()[0])['Event']['EventData']
        expect('actor: the format sysmon has both', data['Image'] == 'C:\\Windows\\regedit.exe' and data['RegwardExecutable'] == SHELL, data)


# ---------------------------------------------------------------- what is loaded

@check
def left_out():
    """SEMANTICS 12.1 and 12.2."""
    rules = {'a.yml': NAMES, 'bad.yml': 'title: [\n', 'odd.yml': OFF.replace('Details:', 'Details|base64:'), 'other.yml': KEYS.replace('registry_event', 'file_event')}
    with RuledMount(rules) as m:
        told = m.told()
        expect('left out: what is no YAML, with its place', '/rules/bad.yml:' in told and 'left out' in told, told)
        expect('left out: what is not supported, and why', "/rules/odd.yml:6:" in told and "the modifier 'base64' is not supported" in told, told)
        expect('left out: what is about something else is no problem', 'other.yml' not in told)
        echo('host', m.file(HOSTNAME))
        expect('left out: the rest is asked', fired(m.events_after(1)[0]) == ['names'])
        code, text = run([control.REGWARD, 'rules', 'lint', m.policy])
        expect('left out: lint counts', code == 0 and '1 Sigma rule in 4 files, 2 left out, 1 not about the registry' in text, text)
    for id, problem in (('off', "the rule 'off' cannot deny anything"), ('keys', "the rule 'keys' is not about the registry"), ('name', "did you mean 'names'?")):
        m = RuledMount(rules, 'deny: [%s]' % id)
        code, text = run([control.REGWARD, 'mount', '-o', 'policy=' + m.policy, m.hive, m.path])
        expect('left out: nobody believes himself protected by %s' % id, code == 1 and problem in text and not os.path.ismount(m.path), (code, text))
    m = RuledMount({'a.yml': NAMES})
    os.chmod(m.rules('a.yml'), 0o666)
    code, text = run([control.REGWARD, 'mount', '-o', 'policy=' + m.policy, m.hive, m.path])
    expect('left out: rules that others can change are an error', code == 1 and 'a.yml: the file belongs to' in text and not os.path.ismount(m.path), (code, text))


@check
def reload():
    """SEMANTICS 12.8."""
    with RuledMount({'a.yml': NAMES}) as m:
        expect('reload: told before', echo('one', m.file(HOSTNAME)))
        m.write_section('deny: [names]')
        code, text = run([control.REGWARD, 'reload', m.path])
        expect('reload: refused after', code == 0 and m.version() == 2 and not echo('two', m.file(HOSTNAME)), text)
        m.write_rule('a.yml', NAMES.replace('*name', 'Domain'))
        m.process.send_signal(signal.SIGHUP)
        wait_for('version 3', lambda: m.version() == 3)
        expect('reload: the rule itself is read again', echo('three', m.file(HOSTNAME)) and not echo('x', m.file(DOMAIN)))
        m.write_rule('a.yml', 'title: [\n')
        code, text = run([control.REGWARD, 'reload', m.path])
        expect('reload: what denies and is broken changes nothing', code == 1 and m.version() == 3 and not echo('x', m.file(DOMAIN)), (code, text))
        m.write_section('')
        m.write_rule('b.yml', KEYS)
        code, text = run([control.REGWARD, 'reload', m.path])
        expect('reload: what is left out is told', code == 0 and m.version() == 4 and '/rules/a.yml:' in text, (code, text))
        os.mkdir(m.file('ControlSet001/Services/Evil'))
        expect('reload: the new one is asked', echo('x', m.file(DOMAIN)))
        told = sorted((e['regward']['rules_version'], fired(e), 'denied' in e['event']['type']) for e in m.events_after(5))
        refusals = [t for t in told if t[2]]
        expect('reload: each event by the rules of its time', [t[0] for t in refusals] == [2, 3, 3] and len(told) == 5 and all(t[1] == ['names'] for t in refusals), told)
        shown = [fired(e) for e in m.operations()]
        expect('reload: and nothing beside', shown.count(['names']) == 4 and shown.count(['keys']) == 1 and len(shown) == 5, shown)
        m.write_policy('version: 1\n')
        run([control.REGWARD, 'reload', m.path])
        os.mkdir(m.file('ControlSet001/Services/Evil2'))
        expect('reload: without them nobody is asked', m.version() == 5)
    expect('reload: nor told', len(m.operations()) == 5, len(m.operations()))


@check
def flood():
    """Many events at once: none is told twice, none is lost uncounted."""
    with RuledMount({'a.yml': KEYS}) as m:
        for number in range(500): os.mkdir(m.file('ControlSet001/Services/Evil%d' % number))
    events = m.events()
    lost = sum(e['regward'].get('lost', {}).get('dropped', 0) for e in events)
    expect('flood: all are told before the end', len(events) + lost == 500 and lost == 0, (len(events), lost))
    expect('flood: in their order', [e['event']['sequence'] for e in events] == list(range(1, 501)))


if __name__ == '__main__':
    if os.getuid() != 0: sys.exit('check_sigma.py needs root')
    sys.exit(control.main(CHECKS))
