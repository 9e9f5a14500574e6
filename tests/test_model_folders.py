"A model's folder is data: whatever is wrong with one is a `BackboneError` that names it, and nothing in it is run."
import builtins, json, os, pickle, shutil, struct, time, warnings
from pathlib import Path
import pytest
import torch
from safetensors.torch import load_file, save_file

os.environ.setdefault('HF_HUB_OFFLINE', '1')
import huggingface_hub
from diffusers import (AutoencoderKL, AutoencoderTiny, DDIMScheduler, DDPMScheduler, UNet2DConditionModel, UNet2DModel,
                       VQModel)
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer, CLIPVisionConfig, CLIPVisionModelWithProjection
from emotion_synth.diffusion.backbone import Backbone, CropGuessWarning
from emotion_synth.diffusion.model_files import BackboneError, find_weights, learnt_dir, weights_dir
from emotion_synth.diffusion.model_parts import load_clip

UNET = dict(sample_size=16, in_channels=4, out_channels=4, block_out_channels=(32, 64), layers_per_block=1,
            down_block_types=('DownBlock2D',)*2, up_block_types=('UpBlock2D',)*2, attention_head_dim=4,
            cross_attention_dim=16, norm_num_groups=8)
PIXEL = dict(sample_size=32, block_out_channels=(32, 64), layers_per_block=1, norm_num_groups=8,
             down_block_types=('DownBlock2D', 'AttnDownBlock2D'), up_block_types=('AttnUpBlock2D', 'UpBlock2D'))
BLOCKS = dict(block_out_channels=(8, 16), down_block_types=('DownEncoderBlock2D',)*2,
              up_block_types=('UpDecoderBlock2D',)*2, norm_num_groups=8)
TEXT = dict(hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2, projection_dim=8)
TOKENS = ['<|startoftext|>', '<|endoftext|>', *'aefhotcjpy', *(c + '</w>' for c in 'aefhotcjpy'), 'jo', 'joy</w>']

def write(file, value): file.write_text(json.dumps(value), encoding='utf-8')
def read(file): return json.loads(file.read_text(encoding='utf-8'))
def change(file, **settings): write(file, read(file) | settings)

def make_tokenizer(folder):
    folder.mkdir(parents=True)
    write(folder/'vocab.json', {t: i for i, t in enumerate(TOKENS)})
    (folder/'merges.txt').write_text('#version: 0.2\nj o\njo y</w>\n', encoding='utf-8')
    CLIPTokenizer.from_pretrained(folder, model_max_length=6).save_pretrained(folder)

def make_latent(folder):
    "A latent model with text."
    UNet2DConditionModel(**UNET).save_pretrained(folder/'unet')
    AutoencoderKL(latent_channels=4, **BLOCKS).save_pretrained(folder/'vae')
    DDIMScheduler(prediction_type='v_prediction', clip_sample=False).save_pretrained(folder/'scheduler')
    config = CLIPTextConfig(vocab_size=len(TOKENS), max_position_embeddings=6, bos_token_id=0, eos_token_id=1, **TEXT)
    CLIPTextModel(config).save_pretrained(folder/'text_encoder')
    make_tokenizer(folder/'tokenizer')
    ours = dict(unet='UNet2DConditionModel', vae='AutoencoderKL', scheduler='DDIMScheduler')
    words = dict(text_encoder='CLIPTextModel', tokenizer='CLIPTokenizer')
    write(folder/'model_index.json', dict(_class_name='StableDiffusionPipeline', safety_checker=[None, None])
          | {k: ['diffusers', v] for k, v in ours.items()} | {k: ['transformers', v] for k, v in words.items()})

def make_clip(folder):
    "The image tower beside a text encoder."
    eye = CLIPVisionModelWithProjection(CLIPVisionConfig(image_size=32, patch_size=16, **TEXT))
    eye.save_pretrained(folder)
    state = {k: v.contiguous() for k, v in eye.state_dict().items()}
    save_file(state | {'logit_scale': torch.tensor(2.)}, folder/'model.safetensors')
    save_file({'text_projection.weight': torch.randn(8, 16)}, folder/'text_projection.safetensors')

def make_pixel(folder):
    "A pixel model, everything at the root of its folder as in the first days of diffusers."
    UNet2DModel(**PIXEL).save_pretrained(folder)
    DDPMScheduler().save_pretrained(folder)
    write(folder/'model_index.json', dict(_class_name='DDPMPipeline', unet=['diffusers', 'UNet2DModel'],
                                          scheduler=['diffusers', 'DDPMScheduler']))

@pytest.fixture(scope='module')
def models(tmp_path_factory):
    "The folders latent, with a CLIP, and pixel."
    home = tmp_path_factory.mktemp('models')
    torch.manual_seed(0)
    make_latent(home/'latent')
    make_clip(home/'latent'/'clip')
    make_pixel(home/'pixel')
    return home

@pytest.fixture
def latent(models, tmp_path):
    "A copy of the latent model to be changed."
    return Path(shutil.copytree(models/'latent', tmp_path/'model'))

@pytest.fixture
def no_code(monkeypatch):
    "Nobody is asked whether code may run."
    def asked(*args): raise AssertionError('a question was asked')
    monkeypatch.setattr(builtins, 'input', asked)

def weights(folder): return next(folder.glob('*.safetensors'))

def tensors(folder, changed):
    "Change the tensors of a network's folder."
    state = load_file(file := weights(folder))
    changed(state)
    save_file(state, file)

def lies(file, name, shape):
    "Give a tensor another shape in the header of a safetensors file, whose data stay."
    data = file.read_bytes()
    n = struct.unpack('<Q', data[:8])[0]
    header = json.loads(data[8:8 + n])
    header[name]['shape'] = shape
    text = json.dumps(header).encode()
    file.write_bytes(struct.pack('<Q', len(text)) + text + data[8 + n:])

def evil(folder, part, name):
    "Code in the folder of a part that would leave a mark, and settings that point to it."
    (folder/part/'evil.py').write_text(f'open({str(folder/"RAN")!r}, "w")\n', encoding='utf-8')
    auto_map = {k: f'evil.{k}' for k in ('AutoConfig', 'AutoModel', 'AutoTokenizer', 'AutoProcessor')}
    asked = dict(model_type='evil') if name.startswith('Auto') else {} # a known type would be taken from transformers
    for file in (folder/part).glob('*config.json'): change(file, auto_map=auto_map, **asked)
    change(folder/'model_index.json', **{part: ['transformers', name]})

class Evil:
    "A pickle that would leave a mark."
    def __init__(self, folder): self.mark = str(folder/'RAN')
    def __reduce__(self): return open, (self.mark, 'w')

def pickled(folder):
    weights(folder/'unet').unlink()
    (folder/'unet'/'diffusion_pytorch_model.bin').write_bytes(pickle.dumps(Evil(folder)))

def index(**parts): return lambda f: change(f/'model_index.json', **parts)
def config(part, **settings): return lambda f: change(f/part/'config.json', **settings)
def text(file, content): return lambda f: (f/file).write_bytes(content)
def scheduler(**settings): return lambda f: change(f/'scheduler'/'scheduler_config.json', **settings)
def pieces(weight_map): return lambda f: ((f/UNET_WEIGHTS).unlink(), write(f/PIECES, dict(weight_map=weight_map)))
def drop(part, word):
    return lambda f: tensors(f/part, lambda state: state.pop(next(k for k in state if word in k)))
def put(part, **more):
    return lambda f: tensors(f/part, lambda state: state.update({k.replace('__', '.'): v for k, v in more.items()}))
def told_length(length): return lambda f: change(f/'tokenizer'/'tokenizer_config.json', model_max_length=length)

INDEX, UNET_CONFIG, UNET_WEIGHTS = 'model_index.json', 'unet/config.json', 'unet/diffusion_pytorch_model.safetensors'
PIECES, TEXT_CONFIG, STEPS = f'{UNET_WEIGHTS}.index.json', 'text_encoder/config.json', 'scheduler_config.json'
FAULTS = dict(
    # classes that a folder may not name
    auto_model=(lambda f: evil(f, 'text_encoder', 'AutoModel'), 'AutoModel', INDEX),
    auto_tokenizer=(lambda f: evil(f, 'tokenizer', 'AutoTokenizer'), 'AutoTokenizer', INDEX),
    auto_processor=(lambda f: evil(f, 'tokenizer', 'AutoProcessor'), 'AutoProcessor', INDEX),
    own_library=(index(unet=['unet', 'MyUNet']), 'MyUNet', INDEX),
    other_library=(index(unet=['os', 'system']), 'system', INDEX),
    a_module=(index(unet=['diffusers', 'utils']), 'utils', INDEX),
    a_path=(index(unet=['diffusers', '../../evil']), '../../evil', INDEX),
    a_dotted_path=(index(unet=['diffusers', 'models.unets.UNet2DConditionModel']), 'models.unets', INDEX),
    a_function=(index(tokenizer=['transformers', 'pipeline']), 'pipeline', INDEX),
    a_number=(index(unet=7), '7', INDEX),
    numbers=(index(unet=[1, 2]), '[1, 2]', INDEX),
    a_dictionary=(index(unet={'a': 1}), "{'a': 1}", INDEX),
    a_nested_list=(index(scheduler=['diffusers', ['DDIMScheduler']]), 'DDIMScheduler', INDEX),
    one_name=(index(unet=['diffusers']), "['diffusers']", INDEX),
    an_empty_list=(index(vae=[]), '[]', INDEX),
    another_part=(index(vae=['diffusers', 'UNet2DModel']), 'UNet2DModel', INDEX),
    unknown_scheduler=(index(scheduler=['diffusers', 'NoSuchScheduler']), 'NoSuchScheduler', INDEX),
    scheduler_without_alphas=(index(scheduler=['diffusers', 'FlowMatchEulerDiscreteScheduler']), 'FlowMatch', INDEX),
    no_scheduler=(index(scheduler=None), 'scheduler', INDEX),
    no_tokenizer=(index(tokenizer=[None, None]), 'tokenizer'),
    # settings that are no settings
    index_is_no_json=(text(INDEX, b'{"unet": ['), INDEX, 'JSON'),
    index_is_a_list=(text(INDEX, b'[]'), INDEX, '[] where'),
    index_is_null=(text(INDEX, b'null'), INDEX, 'null'),
    index_is_empty=(text(INDEX, b''), INDEX),
    index_is_latin1=(text(INDEX, '{"é": 1}'.encode('latin-1')), INDEX),
    index_is_deep=(text(INDEX, b'['*100_000), INDEX),
    index_is_huge=(text(INDEX, b' '*2**21), INDEX, 'larger'),
    config_is_a_list=(text(UNET_CONFIG, b'[1]'), UNET_CONFIG, '[1] where'),
    config_is_null=(text(UNET_CONFIG, b'null'), UNET_CONFIG),
    config_is_a_number=(text(UNET_CONFIG, b'5'), UNET_CONFIG),
    config_is_empty=(text(UNET_CONFIG, b''), UNET_CONFIG),
    config_is_binary=(text(UNET_CONFIG, bytes(range(256))), UNET_CONFIG),
    config_is_deep=(text(UNET_CONFIG, b'{"a":'*100_000), UNET_CONFIG),
    config_has_a_long_number=(text(UNET_CONFIG, b'{"a": ' + b'9'*10_000 + b'}'), UNET_CONFIG),
    config_is_missing=(lambda f: (f/UNET_CONFIG).unlink(), UNET_CONFIG, 'missing'),
    config_is_a_folder=(lambda f: ((f/UNET_CONFIG).unlink(), (f/UNET_CONFIG).mkdir()), UNET_CONFIG),
    text_config_is_a_list=(text('text_encoder/config.json', b'[]'), TEXT_CONFIG),
    scheduler_is_a_list=(text('scheduler/scheduler_config.json', b'[]'), STEPS),
    tokenizer_is_a_list=(text('tokenizer/tokenizer.json', b'[]'), 'tokenizer.json'),
    tokenizer_is_broken=(text('tokenizer/tokenizer.json', b'{"model": 3}'), 'tokenizer'),
    tokenizer_is_missing=(lambda f: shutil.rmtree(f/'tokenizer'), 'vocab.json', 'missing'),
    # settings of the wrong type, or that ask for too much
    channels_as_text=(config('unet', block_out_channels='many'), UNET_CONFIG),
    channels_negative=(config('unet', block_out_channels=[-32, 64]), UNET_CONFIG),
    channels_infinite=(text(UNET_CONFIG, b'{"block_out_channels": [Infinity, 1]}'), UNET_CONFIG),
    unknown_block=(config('unet', down_block_types=['EvilBlock', 'DownBlock2D']), UNET_CONFIG, 'EvilBlock'),
    side_as_text=(config('unet', sample_size='large'), 'sample_size', 'large'),
    side_missing=(config('unet', sample_size=None), 'sample_size'),
    scale_as_text=(config('vae', scaling_factor='small'), 'scaling_factor'),
    scale_of_nan=(config('vae', scaling_factor=float('nan')), 'scaling_factor'),
    vast_unet=(config('unet', block_out_channels=[80_000, 160_000]), UNET_CONFIG, 'GB'),
    vast_beyond_counting=(config('unet', block_out_channels=[2**40, 2**41]), UNET_CONFIG),
    vast_text=(config('text_encoder', vocab_size=10**12), TEXT_CONFIG, 'GB'),
    vast_positions=(config('text_encoder', max_position_embeddings=10**12), TEXT_CONFIG, 'GB'),
    endless_layers=(config('text_encoder', num_hidden_layers=10**9), TEXT_CONFIG, 'tensors'),
    endless_unet=(config('unet', layers_per_block=10**9), UNET_CONFIG, 'tensors'),
    endless_steps=(scheduler(num_train_timesteps=10**13), STEPS, 'num_train_timesteps'),
    steps_as_text=(scheduler(num_train_timesteps='all'), STEPS),
    betas_unknown=(scheduler(beta_schedule='steep'), STEPS),
    betas_of_nan=(scheduler(trained_betas=[float('nan')]), STEPS),
    activation_unknown=(config('text_encoder', hidden_act='os.system'), TEXT_CONFIG),
    length_as_text=(told_length('long'), 'model_max_length'),
    length_negative=(told_length(-3), 'model_max_length'),
    group_as_text=(config('unet', norm_eps='small'), UNET_CONFIG, 'compute'),
    pad_missing=(lambda f: change(f/'tokenizer'/'tokenizer_config.json', pad_token=None), 'tokenizer', 'pad'),
    # weights
    tensor_missing=(drop('unet', 'conv_out.bias'), UNET_WEIGHTS, 'conv_out.bias'),
    text_tensor_missing=(drop('text_encoder', 'token_embedding'), 'text_encoder/model.safetensors', 'token_embedding'),
    tensor_extra=(put('unet', more=torch.ones(2)), UNET_WEIGHTS, 'more'),
    tensor_of_another_shape=(put('vae', encoder__conv_in__bias=torch.ones(9)), 'vae', 'encoder.conv_in.bias'),
    tensor_of_integers=(put('unet', conv_out__bias=torch.ones(4, dtype=torch.long)), UNET_WEIGHTS, 'conv_out.bias'),
    header_lies=(lambda f: lies(f/UNET_WEIGHTS, 'conv_out.bias', [2**50]), UNET_WEIGHTS),
    weights_cut=(lambda f: (f/UNET_WEIGHTS).write_bytes((f/UNET_WEIGHTS).read_bytes()[:5000]), UNET_WEIGHTS),
    weights_empty=(text(UNET_WEIGHTS, b''), UNET_WEIGHTS),
    weights_of_no_tensor=(lambda f: save_file({}, f/UNET_WEIGHTS), UNET_WEIGHTS, 'no tensor'),
    weights_are_a_pointer=(text(UNET_WEIGHTS, b'version https://git-lfs.github.com/spec/v1\noid sha256:00\n'),
                           UNET_WEIGHTS, 'git lfs pull'),
    weights_missing=(lambda f: (f/UNET_WEIGHTS).unlink(), UNET_WEIGHTS, 'missing'),
    weights_are_a_folder=(lambda f: ((f/UNET_WEIGHTS).unlink(), (f/UNET_WEIGHTS).mkdir()), UNET_WEIGHTS),
    weights_pickled=(pickled, 'pickle', 'diffusion_pytorch_model.bin'),
    weights_renamed=(lambda f: (f/UNET_WEIGHTS).rename((f/UNET_WEIGHTS).with_suffix('.bin')), 'rename', '.bin'),
    piece_outside=(pieces({'a': '../../other.safetensors'}), PIECES, '../../other.safetensors'),
    piece_pickled=(pieces({'a': 'weights.bin'}), PIECES, 'weights.bin'),
    piece_missing=(pieces({'a': 'a.safetensors'}), 'a.safetensors', 'missing'),
    pieces_are_a_list=(pieces(['a.safetensors']), PIECES),
    # parts of different models
    other_channels=(lambda f: AutoencoderKL(latent_channels=3, **BLOCKS).save_pretrained(f/'vae'), 'channels'),
    other_vocabulary=(lambda f: change(f/'tokenizer'/'tokenizer_config.json', pad_token='<|new|>'), 'token'),
    crop_unknown=(lambda f: write(f/'emotion_synth.json', dict(crop='wide')), 'wide', 'emotion_synth.json'),
    crop_is_a_list=(lambda f: write(f/'emotion_synth.json', []), 'emotion_synth.json'),
)

def told(call, *args, **kwargs):
    "The message of the BackboneError that a call raises: one sentence or two, on one line."
    with pytest.raises(BackboneError) as error: call(*args, **kwargs)
    sentence = str(error.value)
    assert '\n' not in sentence and len(sentence) < 1000
    return sentence

@pytest.mark.parametrize('name', FAULTS)
def test_fault_is_one_sentence(name, latent, no_code):
    damage, *words = FAULTS[name]
    damage(latent)
    start = time.monotonic()
    sentence = told(Backbone.from_pretrained, latent)
    assert time.monotonic() - start < 5
    for word in words: assert word in sentence or str(Path(word)) in sentence, sentence
    assert not (latent/'RAN').exists()

CLIP_FAULTS = dict(
    config_is_a_list=(text('clip/config.json', b'[]'), 'clip/config.json'),
    config_lacks_a_key=(text('clip/config.json', b'{}'), 'clip/config.json', 'projection_dim'),
    vast=(lambda f: change(f/'clip'/'config.json', intermediate_size=10**12), 'clip/config.json', 'GB'),
    text_config_missing=(lambda f: (f/TEXT_CONFIG).unlink(), TEXT_CONFIG),
    tensor_missing=(lambda f: save_file({'more': torch.ones(2)}, f/'clip'/'text_projection.safetensors'),
                    'text_projection'),
    weights_cut=(text('clip/model.safetensors', b'{'), 'clip/model.safetensors'),
    weights_missing=(lambda f: (f/'clip'/'model.safetensors').unlink(), 'clip/model.safetensors', 'missing'),
    text_weights_missing=(lambda f: weights(f/'text_encoder').unlink(), 'text_encoder/model.safetensors'))

@pytest.mark.parametrize('name', CLIP_FAULTS)
def test_fault_of_a_clip_is_one_sentence(name, latent, no_code):
    damage, *words = CLIP_FAULTS[name]
    damage(latent)
    sentence = told(load_clip, latent)
    for word in words: assert word in sentence or str(Path(word)) in sentence, sentence

# folders that are whole, though not as the newest diffusers writes them

def variant(folder):
    for file in folder.rglob('*.safetensors'):
        if file.parent.name == 'clip': continue
        save_file({k: v.half() for k, v in load_file(file).items()}, file.with_suffix('.fp16.safetensors'))
        file.unlink()

def shards(folder):
    state = load_file(file := folder/UNET_WEIGHTS)
    names = [f'diffusion_pytorch_model-0000{i}-of-00002.safetensors' for i in (1, 2)]
    held = {k: names[i % 2] for i, k in enumerate(state)}
    for name in names: save_file({k: v for k, v in state.items() if held[k] == name}, file.with_name(name))
    pieces(held)(folder)

def old_attention(folder):
    "The names of an autoencoder's attention before 2023."
    new = dict(to_q='query', to_k='key', to_v='value')
    def rename(k):
        for a, b in (*new.items(), ('to_out.0', 'proj_attn')): k = k.replace(f'attentions.0.{a}.', f'attentions.0.{b}.')
        return k
    state = load_file(file := weights(folder/'vae'))
    assert any(rename(k) != k for k in state)
    save_file({rename(k): v for k, v in state.items()}, file)

def old_text(folder):
    "The names of a text encoder before transformers 5, with the positions that were saved then."
    state = load_file(file := weights(folder/'text_encoder'))
    state = {f'text_model.{k.removeprefix("text_model.")}': v for k, v in state.items()}
    save_file(state | {'text_model.embeddings.position_ids': torch.arange(6)[None]}, file)

def without_length(folder):
    settings = read(file := folder/'tokenizer'/'tokenizer_config.json')
    settings.pop('model_max_length')
    write(file, settings)

WHOLE = dict(
    plain=lambda f: None, variant=variant, shards=shards, old_attention=old_attention, old_text=old_text,
    without_length=without_length, too_long=told_length(77),
    fast=index(tokenizer=['transformers', 'CLIPTokenizerFast']),
    code_beside=lambda f: evil(f, 'text_encoder', 'CLIPTextModel'),
    quantised=config('unet', quantization_config=dict(a=1)),
    pickle_beside=text('unet/diffusion_pytorch_model.bin', b'program'),
    kernel=config('text_encoder', _attn_implementation='nobody/kernel', attn_implementation='nobody/kernel'))

@pytest.mark.parametrize('name', WHOLE)
def test_whole_folder_loads(name, models, latent, no_code):
    plain = Backbone.from_pretrained(models/'latent', crop='tight')
    WHOLE[name](latent)
    b = Backbone.from_pretrained(latent, crop='tight')
    assert torch.equal(b.tokens('joy'), plain.tokens('joy')) and b.tokens('joy').shape == (1, 6)
    difference = 1e-2 if name == 'variant' else 0
    for part, known in zip(b.networks, plain.networks):
        assert not part.training and not any(p.requires_grad for p in part.parameters())
        for k, v in known.state_dict().items(): assert (part.state_dict()[k] - v).abs().max() <= difference
    faces = torch.zeros(1, 3, 32, 32)
    assert (b.encode(faces) - plain.encode(faces)).abs().max() <= difference
    assert (b.embed('joy') - plain.embed('joy')).abs().max() <= difference
    assert b.predict_noise(torch.zeros(1, 4, 16, 16), 500).isfinite().all() and not (latent/'RAN').exists()

def test_weights_are_those_that_diffusers_reads(models):
    b = Backbone.from_pretrained(models/'latent', crop='tight')
    own = UNet2DConditionModel.from_pretrained(models/'latent'/'unet').state_dict()
    ours = b.unet.state_dict()
    assert own.keys() == ours.keys() and all(torch.equal(v, own[k]) for k, v in ours.items())
    pixel = Backbone.from_pretrained(models/'pixel', crop='tight')
    assert pixel.latent_shape == (3, 32, 32) and type(pixel.scheduler) is DDPMScheduler
    assert load_clip(models/'latent').logit_scale == 2

@pytest.mark.parametrize('kind', (VQModel, AutoencoderTiny))
def test_other_autoencoders(kind, latent):
    tiny = dict(encoder_block_out_channels=(8, 8), decoder_block_out_channels=(8, 8), num_encoder_blocks=(1, 1),
                num_decoder_blocks=(1, 1))
    vae = kind(latent_channels=4, **(BLOCKS if kind is VQModel else tiny)).eval()
    shutil.rmtree(latent/'vae')
    vae.save_pretrained(latent/'vae')
    change(latent/'model_index.json', vae=['diffusers', kind.__name__])
    b, faces = Backbone.from_pretrained(latent, crop='tight'), torch.zeros(1, 3, 32, 32)
    assert torch.equal(b.encode(faces), Backbone(b.unet, b.scheduler, vae).encode(faces))

# names

@pytest.mark.parametrize('name', ('', '.', '..', '../x', '/x', 'a/../../..', 'a\\..\\..', 'C:x', 'a\0b', 'x\n'))
def test_no_name_leaves_the_weights(name):
    folder = weights_dir(name)
    assert folder.parent == weights_dir().parent and folder.name not in ('', '.', '..') and not folder.exists()

@pytest.mark.parametrize('name', (None, 7, ['face128'], b'face128', 'a\0b', 'x'*5000, '~nobody-here/x',
                                  '../../../no-model-here',
                                  'a/b/c'))
def test_what_is_no_name(name):
    told(find_weights, name)
    told(learnt_dir, name)

def test_learnt_things(tmp_path, monkeypatch):
    monkeypatch.setenv('EMOTION_SYNTH_HOME', str(tmp_path/'own'))
    assert learnt_dir('face128') == weights_dir('face128')
    assert learnt_dir('google/ddpm-ema-celebahq-256') == tmp_path/'own'/'learnt'/'google--ddpm-ema-celebahq-256'
    (tmp_path/'mine').mkdir()
    monkeypatch.chdir(tmp_path)
    assert learnt_dir('mine') == learnt_dir('./mine') == learnt_dir(tmp_path/'mine') == (tmp_path/'mine').resolve()

# the hub

def hub(monkeypatch, files, folder):
    "A hub with one model, and the names of the files that were fetched from it."
    fetched = []
    def snapshot(name, allow_patterns=None, local_files_only=False):
        fetched.extend(allow_patterns or [])
        return str(folder)
    monkeypatch.setattr(huggingface_hub, 'list_repo_files', lambda name: files)
    monkeypatch.setattr(huggingface_hub, 'snapshot_download', snapshot)
    return fetched

def test_hub_gives_data_only(models, monkeypatch):
    files = [f.relative_to(models/'latent').as_posix() for f in (models/'latent').rglob('*') if f.is_file()]
    more = ['pipeline.py', 'unet/code.py', 'unet/diffusion_pytorch_model.bin', 'whole.safetensors',
            'unet/diffusion_pytorch_model.fp16.safetensors', 'safety_checker/model.safetensors']
    fetched = hub(monkeypatch, files + more, models/'latent')
    with pytest.warns(CropGuessWarning): b = Backbone.from_pretrained('somebody/celeba-model')
    assert b.crop == 'celeba-hq' and not set(fetched) & set(more) and UNET_WEIGHTS in fetched

def test_hub_with_pickles_only(models, monkeypatch):
    fetched = hub(monkeypatch, ['model_index.json', 'unet/config.json', 'unet/diffusion_pytorch_model.bin'], models)
    assert 'pickle' in told(find_weights, 'somebody/model') and not fetched

# the crop

@pytest.mark.parametrize('name, published, crop', (
    ('ddpm-ema-celebahq-256', None, 'celeba-hq'), ('my-FFHQ-model', None, 'ffhq'), ('mine', 'google/ffhq-x', 'ffhq'),
    ('celeba', 'ffhq', 'celeba-hq'), ('mine', 7, 'tight')))
def test_crop_is_guessed_with_a_warning(name, published, crop, models, tmp_path):
    folder = Path(shutil.copytree(models/'pixel', tmp_path/name))
    change(folder/'model_index.json', _name_or_path=published)
    with pytest.warns(CropGuessWarning, match=crop) as caught: assert Backbone.from_pretrained(folder).crop == crop
    assert len(caught) == 1

def test_crop_that_is_told(models, tmp_path):
    folder = Path(shutil.copytree(models/'pixel', tmp_path/'celeba'))
    with warnings.catch_warnings():
        warnings.simplefilter('error', CropGuessWarning)
        assert Backbone.from_pretrained(folder, crop='tight').crop == 'tight'
        write(folder/'emotion_synth.json', dict(crop='ffhq'))
        assert Backbone.from_pretrained(folder).crop == 'ffhq'
        assert Backbone.from_pretrained(folder, crop='celeba-hq').crop == 'celeba-hq'
    for crop in ('wide', 3, ['tight']): assert 'ffhq' in told(Backbone.from_pretrained, folder, crop=crop)
