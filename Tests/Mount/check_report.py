#!/usr/bin/env python3
"""check_report.py BINARY [--screenshots FOLDER]

Makes a page of a log with `regward report` and uses it in a headless Chromium: nothing of an event is taken for markup, nothing is
asked of a network, tables sort and filter, refused is told by more than a colour, light and dark. Skips with a message where no
Chromium is there.

BINARY is regward. Prints PASS or FAIL and a name for each check and closes with `N passed, M failed`; exits with 1 when anything failed.
Standard library only. Leaves no process and no file behind but the screenshots that were asked for.
"""
import base64, json, os, shutil, subprocess, sys, tempfile

import verdict
from verdict import check

REGWARD = os.path.abspath(sys.argv[1])
SCREENSHOTS = sys.argv[sys.argv.index('--screenshots') + 1] if '--screenshots' in sys.argv else None
EVIL = ['<script>document.title="pwned"</script>', '"><img src=x onerror="document.title=\'pwned\'">', "'onload='x", '</td></table><h1>',
        '</title><script>document.title="pwned"</script>', '&lt;b&gt;', '\u202egnp.exe']


def event(number, pid, name, path, refused, text='x'):
    return {
        '@timestamp': '2026-01-31T12:%02d:%02d.0000000Z' % (number // 60, number % 60), 'message': text,
        'event': {'module': 'regward', 'sequence': number, 'action': 'RegNtPreSetValueKey' if refused else 'RegNtPostSetValueKey',
                  'type': ['change', 'denied'] if refused else ['change'], 'outcome': 'failure' if refused else 'success'},
        'registry': {'hive': 'HKLM', 'key': path, 'path': 'HKLM\\' + path, 'value': text, 'data': {'type': 'REG_SZ', 'strings': [text], 'bytes': ''}},
        'regward': {'status': '0xC0000022' if refused else '0x00000000'},
        'rule': {'id': text, 'name': text}, 'process': {'pid': pid, 'name': name, 'executable': '/usr/bin/' + name, 'thread': {'id': pid}}}


class Browser:
    """Chromium, driven through a pipe (its DevTools protocol)."""

    def __init__(self, program, folder):
        here, self.output = os.pipe()
        self.input, there = os.pipe()

        def connect():
            # Its ends may have these very numbers already.
            a, b = os.dup(here), os.dup(there)
            os.dup2(a, 3)
            os.dup2(b, 4)
        self.process = subprocess.Popen(
            [program, '--headless', '--no-sandbox', '--disable-gpu', '--remote-debugging-pipe', '--user-data-dir=' + folder,
             '--window-size=1300,1400', '--no-first-run', '--disable-dev-shm-usage'],
            preexec_fn=connect, close_fds=False, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        os.close(here)
        os.close(there)
        self.number, self.waiting, self.session, self.events = 0, b'', None, []

    def receive(self):
        while b'\0' not in self.waiting:
            data = os.read(self.input, 1 << 20)
            if not data: raise RuntimeError('the browser is gone')
            self.waiting += data
        message, self.waiting = self.waiting.split(b'\0', 1)
        return json.loads(message)

    def ask(self, method, **parameters):
        self.number += 1
        message = dict(id=self.number, method=method, params=parameters)
        if self.session: message['sessionId'] = self.session
        os.write(self.output, json.dumps(message).encode() + b'\0')
        while True:
            answer = self.receive()
            if answer.get('id') == self.number:
                if 'error' in answer: raise RuntimeError(answer['error'])
                return answer['result']
            self.events.append(answer)

    def open(self, url):
        target = self.ask('Target.createTarget', url='about:blank')['targetId']
        self.session = self.ask('Target.attachToTarget', targetId=target, flatten=True)['sessionId']
        for domain in ('Page', 'Network', 'Runtime', 'Log'): self.ask(domain + '.enable')
        self.ask('Page.navigate', url=url)
        while not any(e.get('method') == 'Page.loadEventFired' for e in self.events): self.events.append(self.receive())

    def run(self, script):
        result = self.ask('Runtime.evaluate', expression=script, returnByValue=True)
        if 'exceptionDetails' in result: raise RuntimeError(result['exceptionDetails'])
        return result['result'].get('value')

    def picture(self, name):
        if not SCREENSHOTS: return
        data = self.ask('Page.captureScreenshot', captureBeyondViewport=False)['data']
        with open(os.path.join(SCREENSHOTS, name), 'wb') as f: f.write(base64.b64decode(data))

    def close(self):
        try: self.ask('Browser.close')
        except (RuntimeError, OSError): pass
        try: self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        os.close(self.input)
        os.close(self.output)


def column(table, place):
    return "Array.from(document.querySelectorAll('#%s tbody tr')).filter(r => !r.hidden).map(r => r.cells[%d].textContent)" % (table, place)


def click(table, place): return "document.querySelectorAll('#%s thead button')[%d].click()" % (table, place)


def type_in(table, text):
    return ("{const i = document.querySelector('input[type=search][data-table=%s]'); i.value = %s; "
            "i.dispatchEvent(new Event('input'))}" % (table, json.dumps(text)))


def drive(browser, page, events):
    browser.open('file://' + page)
    requests = [e['params']['request']['url'] for e in browser.events if e.get('method') == 'Network.requestWillBeSent']
    check('the page asks for nothing but itself', requests == ['file://' + page], requests)
    noise = [e for e in browser.events if e.get('method') in ('Runtime.exceptionThrown', 'Log.entryAdded')]
    check('no error and no warning', not noise, noise)
    check('no text of an event was run', browser.run('document.title') == 'events.json – regward' and
          browser.run("document.querySelectorAll('script, img, h1').length") == 2, browser.run('document.title'))
    shown = browser.run(column('events', 4))
    path = lambda e: e['registry']['path']
    check('names are shown as they are', sorted(shown) == sorted(path(e).replace('\u202e', '\ufffd') for e in events), shown)
    browser.picture('light.png')

    # Three clicks: up, down, up again; numbers as numbers.
    browser.run(click('events', 2))
    numbers = [int(n) for n in browser.run(column('events', 2))]
    check('a click sorts up, numbers as numbers', numbers == sorted(numbers) and numbers[0] == 9 and numbers[-1] == 100, numbers)
    browser.run(click('events', 2))
    check('the second click sorts down', [int(n) for n in browser.run(column('events', 2))] == sorted(numbers, reverse=True))
    check('and says so', browser.run("document.querySelectorAll('#events th')[2].getAttribute('aria-sort')") == 'descending')
    browser.run(click('events', 4))
    texts = browser.run(column('events', 4))
    check('another column sorts as text', texts == sorted(texts, key=lambda t: t.encode('utf-16-be')), texts)

    browser.run(type_in('events', 'nosuch script'))
    found = browser.run(column('events', 4))
    check('the filter wants every word, in any case', found == [], found)
    browser.run(type_in('events', 'SCRIPT pwned'))
    found = browser.run(column('events', 4))
    check('the filter shows what has them', found and all('<script>' in f for f in found) and len(found) < len(events), found)
    check('and counts', browser.run("document.querySelector('output[data-table=events]').value") == '%d of %d rows' % (len(found), len(events)))
    browser.run(type_in('events', ''))
    browser.run("document.querySelector('input[type=checkbox][data-table=events]').click()")
    results = browser.run(column('events', 5))
    refused = [e for e in events if 'denied' in e['event']['type']]
    check('only what was refused', results == ['ACCESS DENIED'] * len(refused), results)

    crosses = browser.run("document.querySelectorAll('svg path.refused').length")
    rings = browser.run("document.querySelectorAll('svg circle.done').length")
    check('the timeline: a cross for each that was refused, a ring for the others', (crosses, rings) == (len(refused), len(events) - len(refused)), (crosses, rings))
    check('the timeline: a line for each process', browser.run("document.querySelectorAll('svg line.row').length") == 3)
    before = browser.run("getComputedStyle(document.querySelector('#events tr.refused td'), '::before').content")
    check('refused is no matter of colour alone', '✕' in before, before)

    colours = {}
    for scheme in ('light', 'dark'):
        browser.ask('Emulation.setEmulatedMedia', features=[dict(name='prefers-color-scheme', value=scheme)])
        colours[scheme] = browser.run("[getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color, "
                                      "getComputedStyle(document.querySelector('#events tr.refused td')).color]")
        browser.picture(scheme + '-filtered.png')
    check('light and dark', all(a != b for a, b in zip(colours['light'], colours['dark'])), colours)

    def luminance(colour):
        parts = [int(n) / 255 for n in colour[4:-1].split(',')]
        parts = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]
    for scheme, (back, *texts) in colours.items():
        ratios = [(max(a, b) + 0.05) / (min(a, b) + 0.05) for a, b in ((luminance(back), luminance(t)) for t in texts)]
        check('contrast in %s is 4.5 at least' % scheme, min(ratios) >= 4.5, ratios)


def main():
    folder = tempfile.mkdtemp(prefix='regward-report-')
    try:
        log, page = os.path.join(folder, 'events.json'), os.path.join(folder, 'report.html')
        events = [event(n, [100, 20, 9][n % 3], ['wghost', 'bash', 'reg<u>'][n % 3], EVIL[n % len(EVIL)], n % 4 == 0, EVIL[n % len(EVIL)]) for n in range(1, 60)]
        with open(log, 'w') as f:
            for e in events: f.write(json.dumps(e) + '\n')
            f.write('nonsense\n')
        done = subprocess.run([REGWARD, 'report', log, '-o', page], capture_output=True, text=True)
        check('a broken line is told with its number', done.returncode == 1 and ':60: no JSON' in done.stderr, done)
        with open(page) as f: text = f.read()
        check('nothing in it is loaded from elsewhere', 'http' not in text.replace('http-equiv', '') and ' src=' not in text.replace('&lt;img src=x', ''))
        program = shutil.which('chromium') or shutil.which('chromium-browser') or shutil.which('google-chrome')
        if program is None:
            print('no Chromium is there: the page was not looked at')
        else:
            browser = Browser(program, os.path.join(folder, 'profile'))
            try: drive(browser, page, events)
            finally: browser.close()
    finally: shutil.rmtree(folder, ignore_errors=True)
    verdict.close()


if __name__ == '__main__': main()
