#!/usr/bin/env python3
"""check_names.py BINARY SHARED [HIVE…]

Mounts hives of SHARED (all that can be mounted for reading; or those given, below SHARED/hives), lists every directory, looks up every name
that is listed, and compares it with `user.reg.name`, the whole name (SEMANTICS 2.2 to 2.4, 2.6, 2.7 and 2.11); and collects the
security of every key as text and as bytes. The texts are set on keys of a new mount: the bytes are the same where they are
canonical, the text in any case (SEMANTICS 4.10). With python3-samba there, its own reader makes of each text what ours makes.

Prints PASS or FAIL and a name for each check and closes with `N passed, N failed`; exits with 1 when anything failed.
Leaves no mount, no process and no file behind.
"""
import hashlib, lzma, os, re, shutil, stat, subprocess, sys, tempfile, traceback

REGWARD, SHARED = os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2])
HIVES = os.path.join(SHARED, 'hives')
passed = failed = 0


def check(name, problem):
    global passed, failed
    passed, failed = passed + (not problem), failed + bool(problem)
    print('%s %s%s' % ('FAIL' if problem else 'PASS', name, ': %s' % str(problem)[:600] if problem else ''), flush=True)


def hives():
    for folder, _, names in os.walk(HIVES):
        for name in names:
            plain = name[:-3] if name.endswith('.xz') else name
            if not re.search(r'\.(md|txt|tsv|dump|LOG[12]?)$', plain, re.I) and 'GOLDEN' not in folder:
                yield os.path.relpath(os.path.join(folder, name), HIVES)


def unpacked(path, folder):
    source = os.path.join(HIVES, path)
    target = os.path.join(folder, 'hive')
    with (lzma.open(source) if path.endswith('.xz') else open(source, 'rb')) as packed, open(target, 'wb') as plain:
        shutil.copyfileobj(packed, plain)
    os.chmod(target, 0o600)
    return target


def mount(hive, point, options):
    return subprocess.run([REGWARD, 'mount', '-o', options, hive, point], capture_output=True, stdin=subprocess.DEVNULL).returncode == 0


def unmount(point): subprocess.run([REGWARD, 'umount', point], check=True, capture_output=True)


def is_name_of(listed, whole):
    """Whether the listed name stands for the one that `user.reg.name` tells."""
    listed = re.sub(rb'(%val)?(%dup[0-9]+)?$', b'', listed) if re.search(rb'%(val|dup[0-9]+)$', listed) else listed
    cut = re.search(rb'%~([0-9a-f]{16})$', listed)
    if cut: return hashlib.sha256(whole).hexdigest()[:16].encode() == cut[1] and whole.startswith(listed[:cut.start()]) and len(whole) > 1000
    return {b'': b'@', b'@': b'%40', b'.': b'%2E', b'..': b'%2E.'}.get(whole, whole) == listed


class Seen:
    def __init__(self): self.hives, self.keys, self.values, self.lost, self.problems, self.security = 0, 0, 0, 0, [], {}

    def walk(self, top, name):
        self.hives += 1
        folders = [top]
        while folders:
            folder = folders.pop()
            try:
                entries = os.listdir(folder)
                try: self.security[os.getxattr(folder, 'system.ntfs_acl')] = os.getxattr(folder, 'user.reg.sddl')
                except OSError: pass
            except OSError as error: self.problems.append((name, folder, str(error))); continue
            if len(set(entries)) != len(entries): self.problems.append((name, folder, 'a name is listed twice'))
            for entry in entries:
                if entry.startswith(b'%lost0x'): self.lost += 1; continue
                path = os.path.join(folder, entry)
                try:
                    mode = os.lstat(path).st_mode
                    if stat.S_ISLNK(mode): continue
                    whole = os.getxattr(path, 'user.reg.name')
                except OSError as error:
                    # What is damaged says so.
                    if error.errno != 117: self.problems.append((name, path, str(error)))
                    else: self.lost += 1
                    continue
                if len(entry) > 1024 or not is_name_of(entry, whole): self.problems.append((name, path, whole))
                if stat.S_ISDIR(mode): self.keys += 1; folders.append(path)
                else: self.values += 1


def compare_with_samba(security):
    """Samba's library on the same texts. Of 4.17 KA, KR and KW are unknown, FA is another mask, and newer SIDs have no letters."""
    try:
        from samba.dcerpc import security as samba
        from samba.ndr import ndr_pack, ndr_unpack
    except ImportError:
        print('python3-samba is not there: no comparison with it')
        return
    compared, problems = 0, []
    words = {'KA': '0xf003f', 'KR': '0x20019', 'KW': '0x20006', 'FA': '0x1f01ff', 'FR': '0x120089', 'FW': '0x120116', 'FX': '0x1200a0'}
    domain = samba.dom_sid('S-1-5-21-1-2-3')
    for descriptor, text in security.items():
        text = re.sub(r'(\([A-Z]+;[A-Z]*;)([FK][ARWX])(;)', lambda m: m[1] + words[m[2]] + m[3], text.decode())
        theirs = ndr_unpack(samba.descriptor, descriptor)
        try: ours = samba.descriptor.from_sddl(text, domain)
        except (TypeError, ValueError): continue
        compared += 1
        for part in ('owner_sid', 'group_sid'):
            if str(getattr(ours, part)) != str(getattr(theirs, part)): problems.append((part, text))
        for part in ('dacl', 'sacl'):
            aces = [[(a.type, a.flags, a.access_mask, str(a.trustee)) for a in (getattr(d, part).aces if getattr(d, part) else [])] for d in (ours, theirs)]
            if aces[0] != aces[1]: problems.append((part, text, aces))
    check('SEMANTICS 4.10: samba reads %d of %d texts, each to the same owner, group and entries' % (compared, len(security)),
          problems[:2] or compared * 2 < len(security) and 'too few')


def is_canonical(data):
    """As Windows writes it: header, SACL, DACL, owner, group, without holes, and no bits that SDDL has no words for."""
    def number(at, count): return int.from_bytes(data[at:at + count], 'little')
    control, end = number(2, 2), 20
    if data[1] or control & ~0xBF14 or not control & 4 and control & 0x1500 or not control & 16 and control & 0x2A00: return False
    for field, is_list in ((12, True), (16, True), (4, False), (8, False)):
        if not number(field, 4): continue
        if number(field, 4) != end: return False
        if not is_list: end += 8 + 4 * data[end + 1]; continue
        entry, objects = end + 8, False
        for _ in range(number(end + 4, 2)):
            objects = objects or data[entry] in (5, 6, 7, 8, 11)
            entry += number(entry + 2, 2)
        if data[end] != (4 if objects else 2) or data[end + 1] or number(end + 6, 2) or number(end + 2, 2) != entry - end: return False
        end = entry
    return end == len(data)


def set_all(security, folder, point):
    """Each text on a key of a new mount, each text of which comes back."""
    hive = unpacked('real/testhive-nt-hive', folder)
    if not mount(hive, point, 'force'): raise RuntimeError('no mount for writing')
    key, problems, canonical = os.path.join(point, 'Security'), [], 0
    os.mkdir(key)
    for descriptor, text in security.items():
        shutil.rmtree(key)
        os.mkdir(key)
        try: os.setxattr(key, 'user.reg.sddl', text)
        except OSError as error: problems.append((text, str(error))); continue
        found = os.getxattr(key, 'system.ntfs_acl'), os.getxattr(key, 'user.reg.sddl')
        # A part that the text does not name stays as it was in the key's parent.
        if not (text.startswith(b'O:') and b'G:' in text and b'D:' in text): continue
        if found[1] != text: problems.append((text, found[1]))
        if is_canonical(descriptor):
            canonical += 1
            if found[0] != descriptor: problems.append((text, 'other bytes'))
    unmount(point)
    check('SEMANTICS 4.10: %d texts set, %d of canonical descriptors give the same bytes' % (len(security), canonical),
          problems[:2] or canonical * 2 < len(security) and 'too few are canonical')


def main():
    folder = os.path.realpath(tempfile.mkdtemp(prefix='regward-names-'))
    point = os.path.join(folder, 'mnt')
    os.mkdir(point)
    seen, refused = Seen(), 0
    try:
        for path in sorted(sys.argv[3:] or hives()):
            if not mount(unpacked(path, folder), point, 'ro,force'): refused += 1; continue
            try: seen.walk(os.fsencode(point), path)
            finally: unmount(point)
        check('SEMANTICS 2.2 to 2.4, 2.6, 2.7 and 2.11: %d hives (%d cannot be mounted), %d keys, %d values, each name listed is found and is user.reg.name; %d damaged'
              % (seen.hives, refused, seen.keys, seen.values, seen.lost), seen.problems[:3] or not sys.argv[3:] and seen.keys < 100_000 and 'too few')
        set_all(seen.security, folder, point)
        compare_with_samba(seen.security)
    except Exception: check('the check itself', traceback.format_exc())
    finally:
        if os.path.ismount(point): subprocess.run([REGWARD, 'umount', point], capture_output=True)
        if os.path.ismount(point): subprocess.run(['umount', '-l', point])
        shutil.rmtree(folder, ignore_errors=True)
    print('%d passed, %d failed' % (passed, failed))
    return 1 if failed else 0


if __name__ == '__main__': sys.exit(main())
