"""A second device where there is none: tensors that hold ordinary numbers and say that they are elsewhere. An operation
that mixes the two devices raises, as it would on a GPU. Run as `python pretend_device.py METHOD ...`: every method edits a
photo here and there, and the two pictures are compared."""
import contextlib, os, sys
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map

HERE, THERE = torch.device('cpu'), torch.device('meta')  # the one device that torch lets anybody ask for
BETWEEN = 'copy_', '_to_copy', 'index'                   # what may read one device and write to another

class There(torch.Tensor):
    "A tensor that says it is on the pretended device; `.here` has its numbers."
    @staticmethod
    def __new__(cls, here):
        made = torch.Tensor._make_wrapper_subclass(cls, here.shape, strides=here.stride(), dtype=here.dtype, device=THERE,
                                                   storage_offset=here.storage_offset())
        made.here = here
        return made
    def __repr__(self): return f'There({self.here!r})'
    @classmethod
    def __torch_dispatch__(cls, op, types, args=(), kwargs=None): return run(op, args, kwargs or {})

def as_there(x): return There(x) if isinstance(x, torch.Tensor) and not isinstance(x, There) else x

def check(op, tensors):
    "Numbers (tensors without axes) may come from anywhere; everything else from one device."
    there = {isinstance(t, There) for t in tensors if t.ndim}
    if len(there) > 1 and not any(name in str(op) for name in BETWEEN):
        raise RuntimeError(f'{op} was given tensors of two devices: {[(type(t).__name__, tuple(t.shape)) for t in tensors]}')

def run(op, args, kwargs):
    "The operation, done here; its result is where it would be."
    tensors = [t for t in tree_flatten((args, kwargs))[0] if isinstance(t, torch.Tensor)]
    check(op, tensors)
    asked, name = kwargs.get('device'), str(op)
    real = lambda x: x.here if isinstance(x, There) else HERE if isinstance(x, torch.device) else x
    real_args, real_kwargs = tree_map(real, args), tree_map(real, kwargs)
    out = op(*real_args, **(real_kwargs | ({} if asked is None else {'device': HERE})))
    first = bool(args) and isinstance(args[0], There)
    if asked is not None: elsewhere = torch.device(asked).type == THERE.type
    elif any(n in name for n in BETWEEN): elsewhere = first
    else: elsewhere = any(isinstance(t, There) for t in tensors)
    if asked is not None and not elsewhere: return tree_map(lambda x: x.clone() if isinstance(x, torch.Tensor) else x, out)
    if not elsewhere: return out
    return args[0] if name.split('.')[1].endswith('_') and first else tree_map(as_there, out)

class Pretend(TorchDispatchMode):
    def __torch_dispatch__(self, op, types, args=(), kwargs=None): return run(op, args, kwargs or {})

class no_inference(contextlib.ContextDecorator):
    "`torch.inference_mode` without its inference tensors, which a wrapper cannot be."
    def __init__(self, mode=True): self.mode = mode
    def __call__(self, f): return super().__call__(f)
    def __enter__(self):
        self.before = torch.is_grad_enabled()
        torch.set_grad_enabled(not self.mode)
    def __exit__(self, *error): torch.set_grad_enabled(self.before)

def prepare_torch():
    "What torch does below the level at which devices can be pretended."
    torch.inference_mode = no_inference
    for name in ('as_tensor', 'tensor'):
        def made(*args, make=getattr(torch, name), device=None, **kwargs):
            out = make(*args, **kwargs)
            return out if device is None or torch.device(device) == out.device else out.to(device)
        setattr(torch, name, made)
    real = torch.autocast
    torch.autocast = lambda kind, *a, **k: contextlib.nullcontext() if kind == THERE.type else real(kind, *a, **k)

def main(methods):
    os.environ['EMOTION_SYNTH_DTYPE'] = 'float32'
    prepare_torch()
    from emotion_synth.editor import Editor
    from emotion_synth.images import sample_photo
    for name in methods:
        editor = Editor(name)
        here = editor(sample_photo(), 'joy', .8).array.astype(int)
        editor.forget()
        with Pretend():
            editor.method.to(THERE)
            edit = editor(sample_photo(), 'joy', .8)
            crop = edit.faces[0].after
        print(name, type(crop).__name__, crop.device, abs(edit.array - here).max())

if __name__ == '__main__': main(sys.argv[1:])
