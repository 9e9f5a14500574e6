"What holds when something goes wrong: a killed process, a full disk, two writers, bad input, an error inside an edit."
import errno, itertools, json, os, random, re, shlex, shutil, signal, socket, subprocess, sys, time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
import numpy as np
import pytest
from emotion_synth import cli, editor
from emotion_synth.images import ImageError, load_image, read_provenance, sample_photo, save_image, to_array

ROOT = Path(__file__).resolve().parent.parent
CLI = '-m', 'emotion_synth.cli'
STOPPED = 'emotion-synth: stopped; nothing was saved.'
MINUTE = 60
linux = pytest.mark.skipif(sys.platform != 'linux', reason='signals, limits and /proc as Linux has them')

def environment(**more):
    "One thread a process, since several run at a time."
    path = filter(None, (str(ROOT), os.environ.get('PYTHONPATH')))
    return {**os.environ, 'PYTHONPATH': os.pathsep.join(path), 'HF_HUB_OFFLINE': '1', 'OMP_NUM_THREADS': '1', **more}

@contextmanager
def started(*args, **more):
    "A Python process; it and its children are gone afterwards."
    streams = dict(stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    args = [sys.executable, *map(str, args)]
    # a shell that starts tests in the background has them ignore Ctrl-C, and their children, too
    hear = None if sys.platform == 'win32' else lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)
    more = {'preexec_fn': hear, **streams, **more}
    with subprocess.Popen(args, env=environment(), start_new_session=True, **more) as process:
        try: yield process
        finally:
            with suppress(ProcessLookupError, PermissionError): os.killpg(process.pid, signal.SIGKILL)

def finished(process):
    "(exit code, output, errors) of a process."
    out, err = process.communicate(timeout=5*MINUTE)
    return process.returncode, out, err

def names(folder): return sorted(p.name for p in folder.iterdir())

def contents(folder): return {p.name: p.read_bytes() for p in folder.iterdir() if p.is_file()}

def is_leftover(name): return bool(re.fullmatch(r'\..+\.[0-9a-f]{8}\.part', name))

def noise(seed, side):
    "A picture that no codec makes small: (side, side, 3) uint8."
    return np.random.default_rng(seed).integers(256, size=(side, side, 3), dtype=np.uint8)

@pytest.fixture
def photo(tmp_path, monkeypatch):
    "me.png, a portrait, in an empty folder, which is the current one."
    monkeypatch.chdir(tmp_path)
    sample_photo().save('me.png')
    return tmp_path/'me.png'

@pytest.fixture
def told(capsys, monkeypatch):
    "Runs a command in this process: (exit code, output, errors)."
    monkeypatch.setattr(cli.Waiting, '__call__', lambda self, doing: None)
    def run(*args):
        capsys.readouterr()
        code = cli.main(list(map(str, args)))
        return code, *capsys.readouterr()
    return run

def check_refusal(answer):
    "One sentence on stderr, nothing else."
    code, out, err = answer
    assert code in (1, 2) and not out and err.startswith('emotion-synth: ') and err[-2:] in ('.\n', '?\n'), answer
    assert len(err.splitlines()) == 1 and 'bug' not in err and 'Errno' not in err, answer

# A process that is killed while it saves

SAVE_UNTIL_KILLED = """
import os, sys
import numpy as np
from emotion_synth.images import save_image
pictures = [np.random.default_rng(seed).integers(256, size=(700, 700, 3), dtype=np.uint8) for seed in (0, 1)]
for line in sys.stdin:
    child = os.fork()
    if not child:
        for i in range(2000): save_image(pictures[i % 2], sys.argv[1])
        os._exit(1)
    print(child, flush=True)
    os.waitpid(child, 0)
    print('gone', flush=True)
"""

def wait_for_new(folder, before):
    "Until a file that was not there `before` is being written."
    end = time.monotonic() + MINUTE
    while not any(is_leftover(n) and n not in before for n in os.listdir(folder)): assert time.monotonic() < end

@linux
def test_killed_while_saving(tmp_path):
    target, moments = tmp_path/'target.png', random.Random(0)
    complete = [noise(seed, 700).tobytes() for seed in (0, 1)]
    with started('-c', SAVE_UNTIL_KILLED, target) as saver:
        for k in range(30):
            before = names(tmp_path)
            print('save', file=saver.stdin, flush=True)
            child = int(saver.stdout.readline())
            if k % 2: time.sleep(moments.uniform(0, .2))
            else: wait_for_new(tmp_path, before)
            os.kill(child, signal.SIGKILL)
            assert saver.stdout.readline() == 'gone\n'
            if target.exists(): assert to_array(target).tobytes() in complete
            assert all(is_leftover(n) for n in names(tmp_path) if n != target.name)
    save_image(noise(0, 700), target)
    assert to_array(target).tobytes() == complete[0]

SAVE_CUT_SHORT = """
import os, resource, signal, sys
import numpy as np
from emotion_synth.images import save_image
for limit in map(int, sys.argv[2:]):
    child = os.fork()
    if not child:
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        save_image(np.random.default_rng(1).integers(256, size=(200, 200, 3), dtype=np.uint8), sys.argv[1])
        os._exit(0)
    print(os.WTERMSIG(os.waitpid(child, 0)[1]), flush=True)
"""

@linux
def test_killed_in_the_middle_of_the_file(tmp_path):
    "The kernel kills the process at a given byte of the file: nothing is left to chance."
    target = save_image(noise(0, 200), tmp_path/'target.png')
    old, limits = target.read_bytes(), (0, 1, 4096, 60_000, len(target.read_bytes()) - 1)
    with started('-c', SAVE_CUT_SHORT, target, *limits) as saver: code, out, err = finished(saver)
    assert (code, out.split()) == (0, [str(int(signal.SIGXFSZ))]*len(limits)), err
    assert target.read_bytes() == old
    left = [p for p in tmp_path.iterdir() if p != target]
    assert all(is_leftover(p.name) for p in left) and sorted(p.stat().st_size for p in left) == list(limits)

# `edit`, stopped from outside

def reader_of(fifo, process):
    "The writing end of a named pipe, once the process has opened it to read the photo: its models are loaded by then."
    while True:
        assert process.poll() is None, finished(process)
        try: return os.open(fifo, os.O_WRONLY | os.O_NONBLOCK)
        except OSError as error: assert error.errno == errno.ENXIO
        time.sleep(.01)

def stop_edit(folder, number, moment):
    "Send a signal to an `edit`: while it reads the photo, so many seconds after that, or while it saves."
    folder.mkdir()
    os.mkfifo(fifo := folder/'me.fifo')
    with started(*CLI, 'edit', fifo, '--emotion', 'joy', '-o', folder/'out.png') as process:
        with open(reader_of(fifo, process), 'wb') as pipe:
            os.set_blocking(pipe.fileno(), True)
            if moment == 'reading':
                process.send_signal(number)
                return finished(process)
            pipe.write((folder.parent/'me.png').read_bytes())
        if moment != 'saving': time.sleep(moment)
        else:
            while process.poll() is None and not any(map(is_leftover, os.listdir(folder))): pass
        process.send_signal(number)
        return finished(process)

@linux
@pytest.mark.parametrize('number', (signal.SIGINT, signal.SIGKILL), ids=lambda n: n.name)
def test_edit_is_stopped(photo, number):
    "Nothing is saved, or all of it; a Ctrl-C that comes too late finds the picture saved."
    moments = 'reading', 'saving', .1, 1.
    stop = lambda moment: stop_edit(photo.parent/str(moment), number, moment)
    with ThreadPoolExecutor(2) as two: ends = list(two.map(stop, moments))
    for moment, (code, out, err) in zip(moments, ends):
        file = photo.parent/str(moment)/'out.png'
        assert all(map(is_leftover, set(names(file.parent)) - {'out.png', 'me.fifo'}))
        if file.exists():
            assert load_image(file).size == load_image(photo).size and read_provenance(file)['emotion'] == 'joy'
        else: assert code == (130 if number == signal.SIGINT else -number) and not out, (moment, code, err)
        if code == 130: assert err.splitlines()[-1] == STOPPED and 'Traceback' not in err, (moment, err)
        assert moment != 'reading' or not file.exists()

def test_ctrl_c_in_an_exec(tmp_path):
    "Python itself would end by the signal then, though the sentence was said."
    (tmp_path/'late.py').write_text("""import sys
from emotion_synth import cli
cli._function = lambda command: lambda options: exec('raise KeyboardInterrupt')
sys.exit(cli.main(['emotions']))""")
    with started('-m', 'late', cwd=tmp_path) as process: code, out, err = finished(process)
    assert (code, out, err.splitlines()) == (130, '', [STOPPED])

def test_ctrl_c_in_a_callback(tmp_path):
    "ctypes loses an exception there, and what llvmlite goes on with then is broken."
    (tmp_path/'late.py').write_text("""import ctypes, signal, sys
from emotion_synth import cli
scope = dict(__name__='llvmlite.binding', signal=signal)
exec('def call(): signal.raise_signal(signal.SIGINT)', scope)
def command(options):
    ctypes.CFUNCTYPE(None)(scope['call'])()
    print('the callback was over', flush=True)
    while True: pass
cli._function = lambda command_name: command
sys.exit(cli.main(['emotions']))""")
    with started('-m', 'late', cwd=tmp_path) as process: code, out, err = finished(process)
    assert (code, out.split('\n')[0], err.splitlines()) == (130, 'the callback was over', [STOPPED])

# Places that cannot be written to

@contextmanager
def full_disk(room):
    "Files that are written inside can have no more bytes than `room`."
    import resource
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, before[1]))
    try: yield
    finally: resource.setrlimit(resource.RLIMIT_FSIZE, before)

@linux
@pytest.mark.parametrize('room', (0, 1000))
def test_save_on_a_full_disk(tmp_path, room):
    target = save_image(noise(0, 100), tmp_path/'target.png')
    before = contents(tmp_path)
    for path in (target, tmp_path/'new.png', tmp_path/'new.jpg', tmp_path/'new.webp'):
        with full_disk(room), pytest.raises(ImageError) as refusal: save_image(noise(1, 100), path)
        assert str(refusal.value) == f"'{path}' cannot be written: {os.strerror(errno.EFBIG)}."
        assert contents(tmp_path) == before

@linux
def test_edit_on_a_full_disk(photo, told):
    edit = 'edit', 'me.png', '--emotion', 'joy', '-o', 'out.png'
    assert told(*edit)[0] == 0
    before = contents(photo.parent)
    with full_disk(10_000): answer = told(*edit)
    check_refusal(answer)
    assert "'out.png' cannot be written" in answer[2] and contents(photo.parent) == before

def test_edit_into_what_is_no_folder(photo, told):
    Path('notes').write_text('a file')
    before = contents(photo.parent)
    check_refusal(told('edit', 'me.png', '--emotion', 'joy', '-o', 'notes/out.png'))
    assert contents(photo.parent) == before

def test_edit_onto_a_folder(photo, told):
    Path('out.png').mkdir()
    check_refusal(told('edit', 'me.png', '--emotion', 'joy', '-o', 'out.png'))
    assert names(photo.parent) == ['me.png', 'out.png'] and not names(Path('out.png'))

@linux
def test_edit_into_a_folder_that_is_read_only(photo, told):
    "Root can write into any folder, but nobody can create a file in /proc."
    (folder := photo.parent/'fixed').mkdir(mode=0o555)
    if os.access(folder, os.W_OK): folder = Path('/proc')
    answer = told('edit', 'me.png', '--emotion', 'joy', '-o', folder/'out.png')
    check_refusal(answer)
    assert 'cannot be written' in answer[2] and not (folder/'out.png').exists()

# Two processes that save under one name

SAVE_OFTEN = """
import sys
import numpy as np
from emotion_synth.images import save_image
picture = np.random.default_rng(int(sys.argv[2])).integers(256, size=(300, 300, 3), dtype=np.uint8)
for i in range(60): save_image(picture, sys.argv[1])
"""

@linux
def test_two_writers_of_one_file(tmp_path):
    "Whoever reads sees one picture or the other, complete."
    target, complete = tmp_path/'target.png', [noise(seed, 300).tobytes() for seed in (0, 1)]
    save_image(noise(0, 300), target)
    with started('-c', SAVE_OFTEN, target, 0) as one, started('-c', SAVE_OFTEN, target, 1) as other:
        while one.poll() is None or other.poll() is None: assert to_array(target).tobytes() in complete
        for writer in (one, other): assert finished(writer) == (0, '', '')
    assert to_array(target).tobytes() in complete and names(tmp_path) == [target.name]

# The photo itself is never written to

class NotCalled:
    "Stands in for what takes long."
    def __init__(self, *args, **kwargs): raise AssertionError('this should not have been made')

def other_names(photo):
    "Ways to name the photo: (PHOTO, FILE of -o)."
    (folder := photo.parent/'folder').mkdir()
    for link in ('link.png', 'folder/link.png'): Path(link).symlink_to(photo)
    Path('hard.png').hardlink_to(photo)
    Path('there').symlink_to(folder, target_is_directory=True)
    ways = 'me.png', photo, './folder/../me.png', 'there/../folder/link.png', 'hard.png', 'link.png', 'there/link.png'
    return [('me.png', way) for way in ways] + [(way, 'me.png') for way in ways] + [('link.png', 'hard.png')]

@linux
@pytest.mark.parametrize('command', ('edit --emotion joy', 'spectrum'))
def test_output_over_the_photo(photo, told, monkeypatch, command):
    pairs, bytes_before = other_names(photo), photo.read_bytes()
    listed = sorted(photo.parent.rglob('*'))
    for name in ('Editor', 'get_method'): monkeypatch.setattr(editor, name, NotCalled)
    monkeypatch.setattr('emotion_synth.method.get_method', NotCalled)
    for source, out in pairs:
        answer = told(*command.split(), source, '--model', 'nowhere', '-o', out)
        check_refusal(answer)
        assert 'is the photo itself' in answer[2] and answer[0] == 2
        assert photo.read_bytes() == bytes_before and sorted(photo.parent.rglob('*')) == listed

@linux
def test_saving_an_edit_over_its_photo(photo):
    pairs, bytes_before = other_names(photo), photo.read_bytes()
    picture = to_array(photo)
    for source, out in pairs:
        edit = editor.Edit(editor.open_photo(source), picture, (), 'joy', 1., 'morph')
        with pytest.raises(editor.EditError, match='is the photo itself'): edit.save(out)
        assert photo.read_bytes() == bytes_before

# `learn`, killed and taken up again

@pytest.fixture(scope='module')
def toy(tmp_path_factory):
    "Folder of a random model in the layout of face128, a few megabytes."
    import torch
    from transformers import CLIPTextModel
    from emotion_synth.training.autoencoder import make_autoencoder
    from emotion_synth.training.face128 import make_pipeline, save_weights
    from emotion_synth.training.text import make_clip, make_tokenizer
    from emotion_synth.training.unet import make_unet
    folder = tmp_path_factory.mktemp('toy')
    with torch.random.fork_rng():
        torch.manual_seed(0)
        tokenizer = make_tokenizer()
        clip = make_clip(tokenizer, width=32, text_layers=1, image_layers=1, projection=16)
        text = CLIPTextModel(clip.config.text_config)
        getattr(text, 'text_model', text).load_state_dict(clip.text_model.state_dict())
        autoencoder, unet = make_autoencoder((8, 16, 16, 16)), make_unet((32, 64), text=32, heads=2)
        save_weights(folder, make_pipeline(autoencoder, unet, text, tokenizer), clip)
    return folder

LEARN = """
import os, sys
from emotion_synth import cli
from emotion_synth.diffusion.word_learning import Recipe, WordLearner
stop_at, number, *command = sys.argv[1:]
cli._recipe = lambda options: Recipe(steps=options.steps, batch=2, check_every=4)
def train_step(self, go_on=WordLearner.train_step):
    print('step', self.step, flush=True)
    if self.step == int(stop_at): os.kill(os.getpid(), int(number))
    return go_on(self)
WordLearner.train_step = train_step
sys.exit(cli.main(command))
"""

def learn(folder, toy, stop_at=-1, number=0):
    "`learn` with a checkpoint every 4 steps and a signal before step `stop_at`: (exit code, steps, last error line)."
    command = 'learn', 'smirk', 'a.png', 'b.png', 'c.png', '--model', toy, '--steps', 12, '--out', folder
    with started('-c', LEARN, stop_at, int(number), *command) as process: code, out, err = finished(process)
    return code, [int(n) for n in re.findall(r'^step (\d+)$', out, re.M)], err.strip().splitlines()[-1:]

def stopped_twice(folder, toy):
    "`learn`, killed, stopped with Ctrl-C, and taken up a second time."
    killed = learn(folder, toy, 6, signal.SIGKILL)
    assert killed[:2] == (-signal.SIGKILL, [*range(7)]) and names(folder) == ['state.safetensors'], killed
    code, steps, said = learn(folder, toy, 9, signal.SIGINT)
    assert (code, steps) == (130, [*range(4, 10)]) and names(folder) == ['state.safetensors'], said
    assert said == ['emotion-synth: stopped; the same command goes on from its last check.']
    return learn(folder, toy)

def three_photos():
    "a.png to c.png of one face, each with another tint."
    head = np.asarray(sample_photo().crop((96, 0, 352, 256))).astype(int)
    for i, name in enumerate('abc'): save_image((head + [8*i, 0, -8*i]).clip(0, 255).astype(np.uint8), f'{name}.png')

def test_learn_says_what_the_middle_leaves_out(photo, toy, tmp_path):
    "Of a model that reads its text everywhere, as Stable Diffusion does."
    from diffusers import UNet2DConditionModel
    three_photos()
    shutil.copytree(toy, everywhere := tmp_path/'everywhere')
    config = UNet2DConditionModel.load_config(toy/'unet')
    kinds = {k: [kind.replace('DownBlock', 'CrossAttnDownBlock').replace('UpBlock', 'CrossAttnUpBlock')
                 for kind in config[k]] for k in ('down_block_types', 'up_block_types')}
    shutil.rmtree(everywhere/'unet')
    UNet2DConditionModel.from_config(config | kinds).half().save_pretrained(everywhere/'unet')
    command = 'learn', 'smirk', 'a.png', 'b.png', 'c.png', '--model', everywhere, '--steps', 4, '--out', 'out'
    with started('-c', LEARN, -1, 0, *command) as process: code, out, err = finished(process)
    assert code == 0 and re.search(r'^missing from the direction: \d+%', out, re.M), (out, err)
    assert 'the direction will hardly show' in err

@linux
def test_learn_killed_and_resumed(photo, toy):
    "The words are the same to the bit, and so are the direction and the sheet."
    three_photos()
    with ThreadPoolExecutor(2) as two:
        whole, resumed = two.submit(learn, Path('whole'), toy), two.submit(stopped_twice, Path('resumed'), toy)
        assert whole.result()[:2] == (0, [*range(12)]), whole.result()
        assert resumed.result()[:2] == (0, [*range(8, 12)]), resumed.result()
    made = contents(Path('whole'))
    assert sorted(made) == ['direction.safetensors', 'learned_embeds.safetensors', 'sheet.png']
    assert contents(Path('resumed')) == made

# A batch that is killed, or shared

@pytest.fixture
def photos(photo):
    "A folder with four photos, one without a face, and one that is none; its name."
    folder = photo.parent/'photos'
    folder.mkdir()
    for i, side in enumerate((300, 340, 380, 420)):
        sample_photo().resize((side, side)).save(folder/f'{i}.jpg', quality=90)
    load_image(np.full((200, 300, 3), (120, 160, 220), np.uint8)).save(folder/'sky.png')
    (folder/'page.jpg').write_text('<html>Not found</html>')
    return folder

def batch_of(out, *more): return *CLI, 'batch', 'photos', '--emotion', 'joy', '--out', out, *more

def made(out):
    "The bytes of every edit, and the records without the seconds."
    records = [json.loads(line) for line in (Path(out)/'edits.jsonl').read_text().splitlines()]
    for record in records: record.pop('seconds')
    return {p.name: p.read_bytes() for p in Path(out).glob('*.jpg')}, records

def by_one(out):
    with started(*batch_of(out)) as process: code, said, err = finished(process)
    assert (code, said) == (1, f'saved 4 of 6 photos in {out}\n') and 'Traceback' not in err, (code, said, err)
    return made(out)

@linux
@pytest.mark.parametrize('number', (signal.SIGINT, signal.SIGKILL), ids=lambda n: n.name)
def test_batch_is_stopped_and_goes_on(photos, number):
    "Nothing that was made is made again, and in the end everything is as if nothing had happened."
    with started(*batch_of('out')) as process:
        while not Path('out/edits.jsonl').exists():
            assert process.poll() is None, finished(process)
            time.sleep(.01)
        process.send_signal(number)
        code, _, err = finished(process)
    assert code == (130 if number == signal.SIGINT else -number), err
    if code == 130: assert err.splitlines()[-1] == 'emotion-synth: stopped; the same command goes on from here.'
    first = {p.name: p.stat().st_mtime_ns for p in Path('out').glob('*.jpg')}
    with open('out/edits.jsonl', 'a') as records: records.write('{"file": "cut in the midd')
    with started(*batch_of('out')) as process: assert finished(process)[0] == 1
    listed = {name for name in first if (Path('out')/name).stat().st_mtime_ns == first[name]}
    assert len(listed) >= len(first) - 1, 'an edit may be lost whose record was not written'
    for part in Path('out').glob('.*.part'): part.unlink()
    assert made('out') == by_one('whole')

def test_batch_shared_by_two(photos):
    "Two processes write what one does, and say it once."
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = free.getsockname()[1]
    def run(rank):
        env = environment(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE='2', MASTER_ADDR='127.0.0.1',
                          MASTER_PORT=str(port))
        command = [sys.executable, *batch_of('shared', '--device', 'cpu')]
        return subprocess.run(command, env=env, capture_output=True, text=True, timeout=5*MINUTE)
    with ThreadPoolExecutor(2) as two: first, second = two.map(run, (0, 1))
    assert (first.returncode, first.stdout) == (1, 'saved 4 of 6 photos in shared\n'), first
    assert (second.returncode, second.stdout, second.stderr) == (0, '', ''), second
    assert names(Path('shared')) == ['0_joy_1.jpg', '1_joy_1.jpg', '2_joy_1.jpg', '3_joy_1.jpg', 'edits.jsonl']
    assert made('shared') == by_one('alone')

BATCH_MEMORY = """
import resource, sys
from emotion_synth import batch, cli
peaks = []
def one(*args, go_on=batch._done):
    record = go_on(*args)
    peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
    return record
batch._done = one
cli.main('batch big --emotion joy --out out'.split())
print(peaks[-1]/peaks[3])
"""

@linux
def test_batch_memory_is_flat(photo):
    Path('big').mkdir()
    for i in range(12): load_image(np.asarray(sample_photo().resize((1600, 1600))) // (1 + i % 2)).save(f'big/{i}.jpg')
    with started('-c', BATCH_MEMORY) as process: code, out, err = finished(process)
    assert code == 0 and float(out.splitlines()[-1]) < 1.05, (out, err)

# What other programs read

@pytest.mark.skipif(not shutil.which('exiftool'), reason='exiftool is not installed')
@pytest.mark.parametrize('ending', ('png', 'jpg', 'webp', 'tif'))
def test_exiftool_reads_the_provenance(photo, ending):
    "And finds the author, but no place and no thumbnail of the unedited face."
    sample_photo().resize((64, 64)).save('thumb.jpg')
    sample_photo().save('phone.jpg')
    wrote = ('-Artist=Ann', '-GPSLatitude=59', '-GPSLatitudeRef=N', '-SerialNumber=S1', '-Orientation#=6',
             '-ThumbnailImage<=thumb.jpg')
    subprocess.run(['exiftool', '-q', '-overwrite_original', *wrote, 'phone.jpg'], check=True)
    settings = dict(method='morph', emotion='joy', strength=.8, face='0', seed=7)
    save_image(to_array('phone.jpg'), f'edit.{ending}', like='phone.jpg', **settings)
    read = subprocess.run(['exiftool', '-j', '-a', f'edit.{ending}'], capture_output=True, text=True)
    said = json.loads(read.stdout)[0]
    assert [said[k] for k in ('Artist', 'Method', 'Emotion', 'Strength', 'Seed')] == ['Ann', 'morph', 'joy', .8, 7]
    assert said['DigitalSourceType'].endswith('compositeWithTrainedAlgorithmicMedia') and 'Warning' not in said
    assert not [tag for tag in said if any(w in tag for w in ('GPS', 'Serial', 'Thumbnail', 'Orientation'))], said

# An error in the middle of an edit

def traces(network):
    "What changes how a network computes without being a weight: hooks, replaced functions, attention processors."
    kinds = '_forward_hooks', '_forward_pre_hooks', '_backward_hooks', '_backward_pre_hooks'
    hooks = lambda m: [list(getattr(m, kind).values()) for kind in kinds]
    others = lambda m: [m.__dict__.get('forward'), getattr(m, 'processor', None), m.training]
    return [(m, hooks(m), others(m)) for m in network.modules()]

@contextmanager
def breaking(module, call, error):
    "Inside, a pass of `module` raises `error` at its call number `call`, from 0."
    calls = itertools.count()
    def count(*args):
        if next(calls) == call: raise error('in the middle')
    handle = module.register_forward_pre_hook(count)
    try: yield
    finally: handle.remove()

ERRORS = RuntimeError, KeyboardInterrupt

def joyful(method):
    "The sample photo with joy by a fresh editor, as bytes."
    return editor.Editor(method, seed=3)(sample_photo(), 'joy').image.tobytes()

def edits_broken_off(method, unet, passes):
    "Edits that raise in several places of the walk, with an editor that goes on to make a sound one: its bytes."
    same = editor.Editor(method, seed=3)
    before = traces(unet)
    for error in ERRORS:
        for call in passes:
            with pytest.raises(error), breaking(unet.mid_block, call, error): same(sample_photo(), 'joy')
            assert traces(unet) == before
    return same(sample_photo(), 'joy').image.tobytes()

def test_bottleneck_edit_after_an_error():
    from emotion_synth.methods.hspace import HSpaceEdit
    method = HSpaceEdit(num_inference_steps=3)
    after = edits_broken_off(method, method.backbone.unet, (1, 3))
    assert after == joyful(HSpaceEdit(num_inference_steps=3))

def test_ledits_after_an_error(toy):
    "diffusers puts its own attention processors into the U-Net while it edits."
    from emotion_synth.methods.pipelines import LEditsPP
    method = LEditsPP(toy, num_inference_steps=3)
    after = edits_broken_off(method, method.backbone.unet, (1, 5))
    assert after == joyful(LEditsPP(toy, num_inference_steps=3))

@pytest.fixture(scope='module')
def backbones(toy):
    "A toy that is tried, and one that is left alone."
    from emotion_synth.diffusion.backbone import Backbone
    return Backbone.from_pretrained(toy), Backbone.from_pretrained(toy)

def predicted(backbone, sentence='a photo of a joyful woman'):
    "The noise that a toy sees in some latents, as bytes."
    import torch
    x = torch.randn(2, *backbone.latent_shape, generator=torch.Generator().manual_seed(0))
    with torch.no_grad(): eps = backbone.predict_noise(x, torch.tensor([100, 700]), backbone.embed(sentence))
    return eps.numpy().tobytes()

@pytest.mark.parametrize('error', ERRORS)
def test_bottleneck_after_an_error(backbones, error):
    from emotion_synth.diffusion.hook import bottleneck
    tried, untouched = backbones
    before = traces(tried.unet)
    with pytest.raises(error), bottleneck(tried.unet, 1.), breaking(tried.unet.up_blocks[0], 0, error): predicted(tried)
    assert traces(tried.unet) == before and predicted(tried) == predicted(untouched)

@pytest.mark.parametrize('error', ERRORS)
def test_learning_after_an_error(backbones, error):
    import torch
    from emotion_synth.diffusion.words import learning
    tried, untouched = backbones
    before, ids = traces(tried.text_encoder), tried.tokenizer('joyful', add_special_tokens=False).input_ids
    with pytest.raises(error), learning(tried, ids, torch.ones(1, 32)), breaking(tried.text_encoder, 0, error):
        predicted(tried)
    assert traces(tried.text_encoder) == before and predicted(tried) == predicted(untouched)

@pytest.mark.parametrize('error', ERRORS)
def test_lora_after_an_error(backbones, tmp_path, error):
    "Learning a person breaks off; without the LoRA the model is the old one to the bit."
    import torch
    from emotion_synth.diffusion.lora import close_lora, has_lora, open_lora
    from emotion_synth.diffusion.person import personalise
    tried, untouched = backbones
    before = traces(tried.unet)
    faces = torch.linspace(-1, 1, 128).expand(3, 3, 128, 128)
    with pytest.raises(error), breaking(tried.unet, 2, error):
        personalise(tried, 'Anna', faces, open_lora(tried, 2), tmp_path, steps=5, batch=1)
    assert has_lora(tried) and not (tmp_path/'learned_embeds.safetensors').exists()
    close_lora(tried)
    assert predicted(tried) == predicted(untouched) and traces(tried.unet) == before

# Output that nobody reads

@linux
@pytest.mark.parametrize('command', ('emotions', 'edit --help', ''))
def test_broken_pipe(command, tmp_path):
    reading, writing = os.pipe()
    os.close(reading)
    with started(*CLI, *command.split(), cwd=tmp_path, stdout=writing) as process:
        os.close(writing)
        code, _, err = finished(process)
    assert (code, err) == (0, '')

@linux
@linux
def test_output_that_takes_nothing(tmp_path):
    "A full disk behind `>`, and a terminal that has closed the stream."
    command = [sys.executable, '-m', 'emotion_synth.cli', 'emotions']
    with open('/dev/full', 'w') as full:
        run = subprocess.run(command, cwd=tmp_path, env=environment(), stdout=full, stderr=subprocess.PIPE, text=True)
    assert run.returncode == 1 and run.stderr == f'emotion-synth: What there is to say or to save cannot be written: {os.strerror(errno.ENOSPC)}.\n'
    closed = subprocess.run(f'{shlex.join(command)} >&-', shell=True, cwd=tmp_path, env=environment(), stderr=subprocess.PIPE, text=True)
    assert (closed.returncode, closed.stderr) == (0, '')

def test_pipe_into_head(tmp_path):
    line = f'{shlex.quote(sys.executable)} -m emotion_synth.cli emotions | head -1; exit ${{PIPESTATUS[0]}}'
    run = subprocess.run(['bash', '-c', line], env=environment(), cwd=tmp_path, capture_output=True, text=True)
    assert run.returncode == 0 and not run.stderr and len(run.stdout.splitlines()) == 1

# Bad input

BAD = """
edit nowhere.jpg --emotion joy
edit page.jpg --emotion joy
edit empty.png --emotion joy
edit half.png --emotion joy
edit folder --emotion joy
edit sky.png --emotion joy
edit https://example.org/me.jpg --emotion joy
edit '' --emotion joy
edit me.png
edit me.png --emotion
edit me.png --emotion hapy
edit me.png --emotion ''
edit me.png --emotion joy --strength x
edit me.png --emotion joy --strength ''
edit me.png --emotion joy --strength nan
edit me.png --emotion joy --strength inf
edit me.png --emotion joy --strength 3
edit me.png --emotion joy --strength -1.5
edit me.png --emotion joy --method photoshop
edit me.png --emotion joy --method hspace --model nowhere
edit me.png --emotion joy --face 7
edit me.png --emotion joy --face -1
edit me.png --emotion joy --face left
edit me.png --emotion joy --seed x
edit me.png --emotion joy --device gpu
edit me.png --emotion joy --device cuda:99
edit me.png --emotion joy --max-pixels 1000
edit me.png --emotion joy --method lora
edit me.png --emotion joy --method instruct-pix2pix
edit me.png --emotion anger --method asyrp
edit me.png --emotion joy -o out.txt
edit me.png --emotion joy -o out
edit me.png --emotion joy -o nowhere/out.png
edit me.png --emotion joy -o xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx.png
edit me.png --emotion joy --emotion sad
edit me.png --emotions joy
edit me.png --emotion joy -o .
edit me.png --emotion joy -o folder
edit me.png --emotion joy -o sky.png
edit me.png --emotion joy -o me.png --force
edit me.png --emotion joy --face 0,7
edit me.png --emotion joy --face ,
edit me.png --valence 1
edit me.png --valence 2 --arousal 0
edit me.png --valence x --arousal 0
edit me.png --valence 0 --arousal nan
batch nowhere --emotion joy --out new
batch folder --emotion joy --out new
batch '*.tiff' --emotion joy --out new
batch me.png --emotion joy --out page.jpg
batch me.png --emotion joy --out nowhere/new
batch me.png --emotion joy --out new --strength 3
batch me.png --emotion joy --out new --method photoshop
batch me.png --out new
compare me.png --emotion joy
compare me.png --methods morph,photoshop --emotion joy
compare sky.png --methods morph --emotion joy
completion tcsh
info nowhere.png
info page.jpg
edit me.png --direction nowhere.safetensors
edit me.png --direction page.jpg
edit me.png --word nowhere.safetensors
edit me.png --word folder
spectrum nowhere.jpg
spectrum me.png --emotions joy,hapy
spectrum me.png --strengths 0,x
spectrum me.png --strengths 0,nan
spectrum me.png -o out.txt
spectrum me.png -o nowhere/out.png
score nowhere.jpg
score page.jpg
score empty.png
score sky.png
score me.png --face 7
learn smirk nowhere.jpg --out smirk
learn smirk me.png --out out.txt
learn smirk me.png --out nowhere/smirk
learn smirk me.png --out me.png/smirk
learn smirk me.png --out smirk --steps 0
learn 42 me.png me.png me.png --out smirk
""".strip().splitlines()

@pytest.fixture
def bad_files(photo):
    "Files that are not what their names say."
    Path('page.jpg').write_text('<html>Not found</html>')
    Path('empty.png').write_bytes(b'')
    Path('half.png').write_bytes(photo.read_bytes()[:5000])
    Path('folder').mkdir()
    load_image(np.full((200, 300, 3), (120, 160, 220), np.uint8)).save('sky.png')
    return photo.parent

@pytest.mark.parametrize('line', BAD)
def test_bad_input(bad_files, told, line):
    before = contents(bad_files), sorted(bad_files.rglob('*'))
    answer = told(*shlex.split(line))
    check_refusal(answer)
    assert answer[0] == 2 and (contents(bad_files), sorted(bad_files.rglob('*'))) == before
