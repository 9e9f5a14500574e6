"Install emotion_synth: every value comes from settings.ini."
import shlex
from configparser import ConfigParser
from pathlib import Path
from setuptools import find_packages, setup
from setuptools.command.sdist import sdist

here = Path(__file__).parent
config = ConfigParser(delimiters=['='])
config.read(here/'settings.ini', encoding='utf-8')
cfg = config['DEFAULT']

class SdistWithSettings(sdist):
    "A source archive must carry settings.ini, which this file reads."
    def add_defaults(self):
        super().add_defaults()
        self.filelist.append('settings.ini')

setup(
    name=cfg['lib_name'],
    version=cfg['version'],
    description=cfg['description'],
    long_description=(here/'README.md').read_text(encoding='utf-8'),
    long_description_content_type='text/markdown',
    author=cfg['author'],
    license='Apache-2.0',
    license_files=['LICENSE'],
    keywords=shlex.split(cfg['keywords']),
    classifiers=['Development Status :: 3 - Alpha', 'Intended Audience :: Developers',
                 'Intended Audience :: Science/Research', 'Natural Language :: English',
                 'Programming Language :: Python :: 3', 'Topic :: Scientific/Engineering :: Artificial Intelligence'],
    packages=find_packages(include=[cfg['lib_name'], cfg['lib_name'] + '.*']),
    package_data={cfg['lib_name']: ['py.typed', 'weights/**/*', '**/*.json', '**/*.npz', '**/*.safetensors', '**/*.md']},
    python_requires='>=' + cfg['min_python'],
    install_requires=shlex.split(cfg['requirements']),
    extras_require={'onnx': shlex.split(cfg['onnx_requirements']),
                    'dev': shlex.split(cfg['dev_requirements'] + ' ' + cfg['onnx_requirements'])},
    entry_points={'console_scripts': shlex.split(cfg['console_scripts']),
                  'nbdev': [f"{cfg['lib_name']}={cfg['lib_name']}._modidx:d"]},
    cmdclass={'sdist': SdistWithSettings},
    zip_safe=False,
)
