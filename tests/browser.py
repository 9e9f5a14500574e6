"""Drives the explorer in a browser: python tests/browser.py FOLDER [--only voila|lab] [--slow] [--teach].

In Voila and in JupyterLab it opens photos, moves the slider, clicks the plane, moves single muscles, compares two
methods, begins a lesson, chooses faces and emotions, saves, and prints how long each took. Screenshots go to FOLDER.
PATIENCE=5 in the environment waits five times longer for everything, on a busy machine.
Exits with 1 where something does not work. Needs `playwright`, `voila` and Chromium; pytest does not collect it."""
import argparse
import io
import json
import os
import re
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT/'nbs'/'apps'/'explorer.ipynb'
#: The sizes of the screenshots, px.
WIDE, NARROW = (1400, 900), (390, 844)
#: How many times longer than on a quiet machine to wait for anything.
PATIENCE = float(os.environ.get('PATIENCE', 1))
CELL = 'from emotion_synth.explorers import Explorer\nExplorer()'

def free_port():
    "A port that nobody listens on."
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        return s.getsockname()[1]

@contextmanager
def server(kind, folder):
    "A Voila or JupyterLab server in `folder`; gives the address of the page."
    port, token = free_port(), secrets.token_hex(16)
    if kind == 'voila':
        command = ['voila', str(PAGE), '--no-browser', f'--port={port}', f'--token={token}']
        address = f'http://127.0.0.1:{port}/?token={token}'
    else:
        command = ['jupyter', 'lab', '--no-browser', '--allow-root', f'--port={port}', f'--ServerApp.root_dir={folder}',
                   f'--IdentityProvider.token={token}', '--LabApp.expose_app_in_browser=True']
        address = f'http://127.0.0.1:{port}/lab/tree/page.ipynb?token={token}'
    env = {**os.environ, 'PYTHONPATH': str(ROOT), 'PATH': f'{Path(sys.executable).parent}:{os.environ["PATH"]}'}
    with open(folder/f'{kind}.log', 'w') as log:
        process = subprocess.Popen(command, cwd=folder, env=env, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        try:
            wait_for_port(port, process)
            yield address
        finally:
            process.terminate()
            process.wait(20)

def wait_for_port(port, process, seconds=120):
    "Until somebody listens there."
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if process.poll() is not None: raise AssertionError(f'the server ended with {process.returncode}')
        with socket.socket() as s:
            if s.connect_ex(('127.0.0.1', port)) == 0: return
        time.sleep(.1)
    raise AssertionError('the server did not start')

def photos(folder):
    "A portrait, a picture without a face, and a group of two, as files."
    from skimage.data import astronaut
    face = Image.fromarray(astronaut()).crop((80, 0, 380, 300))
    group = Image.new('RGB', (900, 450))
    for i, picture in enumerate((face, face.transpose(Image.Transpose.FLIP_LEFT_RIGHT))):
        group.paste(picture.resize((450, 450)), (450*i, 0))
    made = dict(me=face, wall=Image.new('RGB', (400, 300), 'tan'), group=group, large=face.resize((3000, 3000)))
    for name, picture in made.items(): picture.save(folder/f'{name}.jpg', quality=92)
    lesson = [folder/f'lesson_{i}.jpg' for i in range(6)]
    for i, path in enumerate(lesson): face.rotate(2*i, Image.Resampling.BICUBIC).save(path, quality=92)
    return {name: folder/f'{name}.jpg' for name in made} | dict(lesson=lesson)

class Driver:
    "One page with an explorer, and what a hand does to it."
    def __init__(self, page, kind, out): self.page, self.kind, self.out = page, kind, out

    def one(self, selector): return self.page.locator(f'.es-explorer {selector}').first

    def text(self, selector):
        "The text of all elements of a kind; empty where there is none."
        return self.page.evaluate("""s => [...document.querySelectorAll('.es-explorer ' + s)].map(e => e.innerText)
            .join(' ')""", selector)

    def caption(self): return self.text('.es-caption')

    def note(self): return self.text('div[role=status]')

    def until(self, test, what, seconds=30):
        "Wait until `test()` holds; seconds that it took."
        start = time.perf_counter()
        while time.perf_counter() - start < seconds*PATIENCE:
            if test(): return time.perf_counter() - start
            time.sleep(.01)
        self.shot('failed')
        seen = f'caption {self.caption()!r}, note {self.note()!r}'
        raise AssertionError(f'{self.kind}: {what} within {seconds} s; {seen}')

    def click(self, text):
        "Click the button with a text."
        wanted = re.compile(rf'^\s*{text}\s*$')
        self.page.locator('.es-explorer button', has_text=wanted).first.click()

    def press(self, key):
        "Press a key on the slider, and the seconds until another picture is there, as the page itself sees it."
        self.page.evaluate("""() => { const image = document.querySelector('.es-explorer .es-after');
            window.moved = new Promise(done => new MutationObserver((m, o) => { o.disconnect();
                image.decode().then(() => done(performance.now()), () => done(performance.now())) })
                .observe(image, {attributes: true, attributeFilter: ['src']})); window.began = performance.now() }""")
        self.one('.widget-hslider:has-text("strength") .noUi-handle').focus()
        self.page.keyboard.press(key)
        return self.page.evaluate('async () => (await window.moved - window.began)/1000')

    def shot(self, name, size=None):
        "A screenshot, at a size."
        if size:
            self.page.set_viewport_size(dict(zip(('width', 'height'), size)))
            time.sleep(.8)
        self.page.screenshot(path=str(self.out/f'{self.kind}_{name}.png'), full_page=self.kind == 'voila')

    def idle(self):
        "Wait until nothing is at work."
        busy = self.page.locator('.es-explorer.es-busy')
        self.until(lambda: self.caption() and not busy.count(), 'an end of the work')

def say(kind, what, seconds): print(f'{kind:6} {what:44} {seconds:6.2f} s', flush=True)

def try_sliders(d):
    "Single moves, and a drag."
    moves = [d.press('ArrowLeft') for _ in range(7)]
    say(d.kind, 'move of the slider to new preview, median', sorted(moves[2:])[2])
    for _ in range(12): d.page.keyboard.press('ArrowLeft')
    d.until(lambda: ' at -0.15' in d.caption(), 'the last position of a drag')
    d.page.keyboard.press('End')
    say(d.kind, 'to the end of the slider', d.until(lambda: ' at 1.5' in d.caption(), 'the end of the slider'))
    for _ in range(14): d.page.keyboard.press('ArrowLeft')
    d.until(lambda: ' at 0.8' in d.caption(), 'strength .8')

def try_emotions(d):
    "A family, a word, going back."
    d.click('anger')
    say(d.kind, 'another emotion', d.until(lambda: 'anger' in d.caption(), 'anger'))
    box = d.one('input[list]')
    box.fill('worried')
    box.press('Enter')
    d.until(lambda: 'apprehension' in d.caption(), 'the emotion of a word')
    d.one('button[title^=undo]').click()
    d.until(lambda: 'anger' in d.caption(), 'undo')

def try_views(d):
    "The ways to compare, and the other kinds of emotion."
    d.click('wipe')
    d.until(lambda: d.page.locator('.es-explorer .es-way-wipe').count(), 'the wipe')
    d.shot('wipe')
    d.click('side by side')
    for kind, what in (('blend', 'anger + 0.3 surprise'), ('valence, arousal', 'valence 0.6')):
        d.click(kind)
        d.until(lambda: what in d.caption(), kind)
        d.idle()
        d.shot(kind[:5])
    d.click('one emotion')
    d.until(lambda: d.caption().startswith('anger at'), 'one emotion again')

def try_plane(d):
    "A click on the plane of valence and arousal."
    d.click('valence, arousal')
    d.until(lambda: 'valence' in d.caption(), 'a place')
    pad = d.one('.es-pad')
    pad.scroll_into_view_if_needed()
    box = pad.bounding_box()
    source = d.one('.es-after').get_attribute('src')
    # valence .5 and arousal .7: the plane's middle is 0, and 1 is .45 of its side away
    d.page.mouse.click(box['x'] + box['width']*(.5 + .45*.5), box['y'] + box['height']*(.5 - .45*.7))
    say(d.kind, 'click on the plane', d.until(lambda: 'valence 0.5, arousal 0.7' in d.caption(), 'the place clicked'))
    d.until(lambda: d.one('.es-after').get_attribute('src') != source, 'its picture')
    d.shot('plane')
    d.click('one emotion')
    d.click('anger')
    d.until(lambda: d.caption().startswith('anger at'), 'one emotion again')

def slider(d, name): return d.one(f'.widget-hslider:has(> .widget-label:text-is("{name}")) .noUi-handle')

def try_muscles(d):
    "The folded sliders: raise the brows of an angry face, and go back."
    d.one('.jupyter-widget-Collapse-header:has-text("Brows, eyes, mouth")').click()
    slider(d, 'brows up').focus()
    d.page.keyboard.press('End')
    d.until(lambda: 'AU1+2:3' in d.caption() and 'AU4:2.1' in d.caption(), 'raised brows over the recipe of anger')
    d.idle()
    d.shot('muscles')
    d.click('back to anger')
    d.until(lambda: d.caption().startswith('anger at'), 'anger again')
    d.one('.jupyter-widget-Collapse-header:has-text("Brows, eyes, mouth")').click()

def try_second(d):
    "Another method beside the first, which follows the slider; the two change places."
    d.one('select:has(option:text-is("no other"))').select_option(label='vae, quick')
    texts = lambda: d.text('.es-text')
    say(d.kind, 'a second method', d.until(lambda: 'vae · anger at 0.8' in texts(), 'the second method', 120))
    slider(d, 'strength').focus()
    d.page.keyboard.press('ArrowLeft')
    d.until(lambda: 'morph · anger at 0.75' in texts() and 'vae · anger at 0.75' in texts()
            and 'earlier' not in texts(), 'both methods after a move')
    assert d.one('.es-second').is_visible() and not d.one('.es-before').is_visible()
    assert 'here' in d.one('select:has(option:text-matches("^vae"))').inner_text(), 'measured seconds in the list'
    d.shot('second', WIDE)
    if d.kind == 'voila': d.shot('second_narrow', NARROW)
    d.shot('second_wide', WIDE)
    d.one('button[title^=exchange]').click()
    d.until(lambda: texts().startswith('vae') and 'morph · anger at 0.75' in texts(), 'the methods exchanged')
    d.one('button[title^=exchange]').click()
    d.until(lambda: texts().startswith('morph') and 'vae · anger at 0.75' in texts(), 'and back')
    d.one('select:has(option:text-is("no other"))').select_option(label='no other')
    d.until(lambda: not d.one('.es-second').is_visible(), 'no second method')
    slider(d, 'strength').focus()
    d.page.keyboard.press('ArrowRight')
    d.until(lambda: ' at 0.8' in d.caption(), 'strength .8')

def lesson_upload(d, paths):
    "Choose files for a lesson."
    with d.page.expect_file_chooser() as chooser: d.one('button.es-pictures').click()
    chooser.value.set_files([str(path) for path in paths])

def try_lesson(d, files, teach):
    "A lesson: too few pictures, no name, and where `teach`, all of it."
    header = d.one('.jupyter-widget-Collapse-header:has-text("Learn an emotion")')
    header.click()
    lesson_upload(d, [files['me'], files['wall']])
    d.until(lambda: '2 pictures cannot teach' in d.note(), 'a sentence about too few pictures')
    lesson_upload(d, [*files['lesson'], files['wall']])
    d.until(lambda: '6 faces to learn from. 1 left out, such as wall.jpg' in d.note(), 'the faces of a lesson', 90)
    d.click('learn')
    d.until(lambda: 'Give the emotion a name first' in d.note(), 'a sentence about the name')
    assert d.one('input[placeholder^="what it is called"]').is_visible(), 'a field for the name'
    d.shot('lesson', WIDE)
    if teach: learn_it(d)
    header.click()

def learn_it(d):
    "Learn, watch the sheet grow, and use what was learnt."
    d.one('input[placeholder^="what it is called"]').fill('smirk')
    d.click('learn')
    d.until(lambda: re.search(r'step [1-9]\d* of', d.note()), 'the first step', 300)
    d.shot('learning', WIDE)
    say(d.kind, 'an emotion learnt', d.until(lambda: 'smirk is in the list' in d.note(), 'the end of a lesson', 2400))
    d.until(lambda: d.caption().startswith('smirk at 0.8 · hspace'), 'the learnt emotion', 300)
    d.idle()
    d.shot('learnt', WIDE)

def upload(d, path):
    "Choose a file with the first upload button."
    with d.page.expect_file_chooser() as chooser: d.one('.jupyter-button.widget-upload, button.widget-upload').click()
    chooser.value.set_files(str(path))

def try_uploads(d, files):
    "A photo, one without a face, the same again, a group."
    upload(d, files['me'])
    say(d.kind, 'upload to edit', d.until(lambda: 'me.jpg, 300 x 300' in d.text('.es-right'), 'an upload'))
    d.idle()
    before = d.caption()
    upload(d, files['wall'])
    d.until(lambda: 'No face' in d.note(), 'a sentence about a photo without a face')
    assert d.caption() == before and 'me.jpg' in d.text('.es-right'), 'the last photo stays'
    upload(d, files['group'])
    d.until(lambda: 'group.jpg' in d.text('.es-right'), 'an upload after a failed one')
    faces = d.page.locator('.es-explorer button.es-face')
    d.until(lambda: faces.count() == 3, 'two faces and "all"')
    d.idle()
    source = d.one('.es-after').get_attribute('src')
    faces.nth(1).click()
    d.until(lambda: d.one('.es-after').get_attribute('src') != source, 'the other face')
    d.idle()

def try_saving(d, folder):
    "Save twice: two files, or two links."
    d.click('save')
    d.until(lambda: d.page.locator('.es-explorer a.es-download').count(), 'a download link')
    with d.page.expect_download() as waiting: d.one('a.es-download').click()
    name = waiting.value.suggested_filename
    assert re.fullmatch(r'group_anger_0\.8(_\d)?\.jpg', name), name
    with Image.open(waiting.value.path()) as picture: assert picture.size == (900, 450), picture.size
    if d.kind != 'lab': return
    d.click('save')
    d.until(lambda: (folder/'group_anger_0.8_2.jpg').exists(), 'a second file')

def try_large(d, files):
    "A photo of nine million pixels: moves are as quick as on a small one."
    upload(d, files['large'])
    d.until(lambda: 'large.jpg, 3000 x 3000' in d.text('.es-right'), 'a large photo')
    d.idle()
    here = re.search(r'morph, ([\d.]+) s here', d.one('select:has(option:text-matches("^morph"))').inner_text())
    if not here or float(here[1]) < .9:  # only where a move is quick, a full edit is made when the hand rests
        d.until(lambda: 'large' in d.text('.es-right') and 'full size' in d.caption(), 'rest at full size')
    moves = [d.press('ArrowLeft') for _ in range(5)]
    say(d.kind, 'the same on 9 million pixels', sorted(moves)[2])

def try_hspace(d):
    "The move of a diffusion method, and cancel."
    d.one('select:has(option:text-matches("^hspace"))').select_option(label='hspace, takes seconds')
    say(d.kind, 'first edit with hspace', d.until(lambda: 'hspace' in d.caption(), 'hspace', 240))
    d.idle()
    looks, trues = [], []
    for _ in range(3):
        looks.append(d.press('ArrowLeft'))
        assert 'quick look' in d.caption() or 'preview' in d.caption()
        trues.append(looks[-1] + d.until(lambda: 'look' not in d.caption(), 'the true picture', 90))
    say(d.kind, 'move of the slider with hspace, a look', sorted(looks)[1])
    say(d.kind, 'the same, the true picture', sorted(trues)[1])
    d.idle()
    before = d.caption()
    d.page.keyboard.press('ArrowLeft')  # a strength that was not made yet: those that were are there at once
    d.until(lambda: d.page.locator('.es-explorer.es-busy').count(), 'a busy sign')
    d.click('cancel')
    d.until(lambda: 'Cancelled' in d.note() and not d.page.locator('.es-explorer.es-busy').count(), 'cancel')
    assert d.caption() == before, 'cancel keeps what is shown'

def open_page(page, kind, address):
    "Go to the page, and in JupyterLab run its cell."
    page.goto(address)
    start = time.perf_counter()
    if kind == 'lab':
        page.locator('.jp-Notebook .jp-CodeCell .cm-content').first.click(timeout=60_000*PATIENCE)
        page.wait_for_function("document.querySelector('.jp-Notebook-ExecutionIndicator')?.dataset.status === 'idle'",
                               timeout=60_000*PATIENCE)
        start = time.perf_counter()
        page.keyboard.press('Shift+Enter')
    page.locator('.es-explorer .es-right .widget-hslider:has-text("strength")').first.wait_for(timeout=60_000*PATIENCE)
    say(kind, 'controls there', time.perf_counter() - start)
    return start

def drive(browser, kind, folder, out, files, slow, teach):
    "All that is tried in one kind of page."
    with server(kind, folder) as address:
        page = browser.new_page(viewport=dict(zip(('width', 'height'), WIDE)), accept_downloads=True)
        page.set_default_timeout(30_000*PATIENCE)
        wrong = []
        page.on('console', lambda m: wrong.append(m.text) if 'Error setting state' in m.text else None)
        start, d = open_page(page, kind, address), Driver(page, kind, out)
        d.until(lambda: 'surprise' in d.caption(), 'the first picture', 60)
        say(kind, 'first picture', time.perf_counter() - start)
        errors = page.locator('[data-mime-type="application/vnd.jupyter.stderr"]')
        d.shot('wide', WIDE)
        try_sliders(d)
        try_emotions(d)
        d.shot('emotion')
        try_views(d)
        try_plane(d)
        try_muscles(d)
        try_second(d)
        try_lesson(d, files, teach)
        try_uploads(d, files)
        d.shot('group', WIDE)
        if kind == 'voila':
            d.shot('narrow', NARROW)
            d.shot('wide_again', WIDE)
        try_saving(d, folder)
        try_large(d, files)
        if slow: try_hspace(d)
        assert not errors.count(), errors.first.inner_text()
        assert not wrong, wrong[0]
        page.close()

def main():
    "The command line."
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('out', type=Path, help='folder for screenshots')
    parser.add_argument('--only', choices=('voila', 'lab'), help='one kind of page')
    parser.add_argument('--slow', action='store_true', help='with the hspace method, too')
    parser.add_argument('--teach', action='store_true', help='learn an emotion to the end, too, which takes minutes')
    parser.add_argument('--browser', default=shutil.which('chromium'), help='the Chromium to use')
    opts = parser.parse_args()
    try: from playwright.sync_api import sync_playwright
    except ImportError: sys.exit('tests/browser.py needs playwright and voila: pip install playwright voila.')
    opts.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as work, sync_playwright() as p:
        folder, start = Path(work), time.perf_counter()
        cell = dict(cell_type='code', id='a', metadata={}, execution_count=None, outputs=[], source=CELL)
        kernel = dict(kernelspec=dict(name='python3', display_name='Python 3', language='python'))
        (folder/'page.ipynb').write_text(json.dumps(dict(cells=[cell], metadata=kernel, nbformat=4, nbformat_minor=5)))
        browser = p.chromium.launch(executable_path=opts.browser, args=['--no-sandbox'])
        try:
            for kind in ('voila', 'lab') if opts.only is None else (opts.only,):
                drive(browser, kind, folder, opts.out, photos(folder), opts.slow, opts.teach)
        except AssertionError as error: sys.exit(f'FAILED: {error}')
        finally: browser.close()
        print(f'all well in {time.perf_counter() - start:.0f} s')

if __name__ == '__main__': main()
