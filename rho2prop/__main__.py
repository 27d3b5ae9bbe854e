"""The command line: ``rho2prop predict | encode | decode | app``."""

import argparse
import contextlib
import io
import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from rho2prop import __version__
from rho2prop.core.atomic_files import STANDARD_OUTPUT, atomic, check_output
from rho2prop.core.errors import InputError, printable
from rho2prop.core.packages import require
from rho2prop.core.processes import available_cores, ends_on_signals, set_library_threads
from rho2prop.prediction.pretrained import VARIABLE, find_bundle

if TYPE_CHECKING:
    from rho2prop.prediction.bundle.reader import Bundle
    from rho2prop.prediction.result import Prediction

T = TypeVar("T", int, float)

FORMATS = ("table", "json", "csv")
BROKEN_PIPE = 141  # 128 + SIGPIPE, as in the shell


def main(arguments: list[str] | None = None) -> int:
    """Run one command.

    Parameters
    ----------
    arguments
        Command and options. None: take those of this process, and end it on signals.

    Returns
    -------
    int
        0: success; 1: something failed, one line on stderr says what and how to fix it; 2: wrong usage; 130, 143:
        ended by Ctrl-C, SIGTERM; 141: the reader of the output has closed it.
    """
    with ends_on_signals() if arguments is None else contextlib.nullcontext():
        try:
            return _run(arguments)
        except BrokenPipeError:
            _silence()
            return BROKEN_PIPE


def _run(arguments: list[str] | None) -> int:
    try:
        options = _parser().parse_args(arguments)
        if arguments is None:
            _write_utf8()
            set_library_threads(_threads_each(options))
        code = options.run(options)
    except BrokenPipeError:
        raise
    except (InputError, OSError) as error:
        _complain(_message(error))
        code = 1
    except KeyboardInterrupt:
        code = 130
    except SystemExit as end:  # of argparse: help, version, wrong usage
        code = end.code
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:  # a full disk behind it
        _complain(f"standard output: {error.strerror}")
        _silence()
        code = 1
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="rho2prop",
        description="Material properties from DFT charge densities.",
        epilog="Write a file name that begins with a dash as ./-NAME.",
    )
    parser.add_argument("--version", action="version", version=f"rho2prop {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    predict = commands.add_parser("predict", help="predict properties, with intervals, from densities or structures")
    predict.add_argument(
        "files",
        nargs="+",
        metavar="FILE",
        help="density: CHGCAR (also .gz, .bz2, .xz), .cube, .npz; or structure (CIF, POSCAR, JSON): computed first",
    )
    predict.add_argument("--format", choices=FORMATS, help="default: by the suffix of OUTPUT, otherwise a table")
    predict.add_argument("-o", "--output", type=_output, help="file to write; default: standard output")
    predict.add_argument(
        "--coverage", type=_coverage, help="coverage of the intervals, between 0 and 1; default: that of the bundle"
    )
    predict.add_argument("--work", metavar="DIR", help="keep DFT calculations in this folder and reuse them")
    predict.set_defaults(run=_predict)

    encode = commands.add_parser("encode", help="encode a density (or structure) to a latent")
    encode.add_argument("file", metavar="FILE")
    encode.add_argument("-o", "--output", type=_output, required=True, metavar="LATENT.npz", help="-: standard output")
    encode.add_argument("--work", metavar="DIR", help="keep the DFT calculation in this folder and reuse it")
    encode.set_defaults(run=_encode)

    decode = commands.add_parser("decode", help="decode a latent to a density")
    decode.add_argument("latent", metavar="LATENT", help="file of `rho2prop encode`, or a latent database with --id")
    decode.add_argument("--id", help="material in the latent database")
    decode.add_argument(
        "-o",
        "--output",
        type=_output,
        required=True,
        help="CHGCAR (compressed if it ends in .gz, .bz2, .xz) or .npz; -: a CHGCAR to standard output",
    )
    decode.set_defaults(run=_decode)

    app = commands.add_parser("app", help="start the web app; only reachable from this machine unless --host is given")
    app.add_argument("--database", default="results/latents.sqlite", help="latent database")
    app.add_argument("--report", default="results/report.html", help="report of a run")
    app.add_argument("--host", default="127.0.0.1")
    app.add_argument("--port", type=_port, default=8080)
    app.add_argument("--base-path", default="", help="path prefix of all pages, behind a proxy")
    app.add_argument("--root", default=".", help="folder whose files may be read in the app")
    app.add_argument("--max-upload-mb", type=_megabytes, default=500)
    app.add_argument(
        "--allow-host", action="append", default=[], metavar="NAME", help="host name of a proxy in front of the app"
    )
    app.set_defaults(run=_app)

    for command in (predict, encode, decode, app):
        where = f"${VARIABLE}, results/models, or the shipped bundle"
        command.add_argument("--bundle", help=f"folder of the model bundle; default: {where}")
    for command in (predict, encode):
        command.add_argument(
            "--threads",
            type=_threads,
            default=available_cores(),
            help="cores for densities and networks (a DFT calculation uses one); default: all",
        )
        command.add_argument(
            "--allow-other-engine", action="store_true", help="accept densities from another engine, with a warning"
        )
    return parser


def _threads(text: str) -> int:
    return _number(text, int, lambda n: n >= 1, "an integer of at least 1")


def _port(text: str) -> int:
    return _number(text, int, lambda n: 0 <= n <= 65535, "a port between 0 and 65535")


def _megabytes(text: str) -> float:
    return _number(text, float, lambda x: 0 < x < float("inf"), "a number above 0")


def _coverage(text: str) -> float:
    return _number(text, float, lambda x: 0 < x < 1, "a probability between 0 and 1, for example 0.9")


def _number(text: str, kind: Callable[[str], T], is_allowed: Callable[[T], bool], expected: str) -> T:
    try:
        number: T | None = kind(text)
    except ValueError:
        number = None
    if number is None or not is_allowed(number):
        raise argparse.ArgumentTypeError(f"{text!r} is not {expected}")
    return number


def _output(text: str) -> str:
    if not text:
        raise argparse.ArgumentTypeError("expected a file name, found an empty string")
    return STANDARD_OUTPUT if text == "-" else text


def _refuse_folder(path: str) -> None:
    if Path(path).is_dir():
        raise InputError(path or "''", "is a folder, expected a file", "Give the files in it, for example DIR/*.cif")


def _threads_each(options: argparse.Namespace) -> int:
    """Threads of the networks: the cores, shared among densities that are read in parallel."""
    threads = getattr(options, "threads", available_cores())
    return max(1, threads // len(getattr(options, "files", [None])))


def _predict(options: argparse.Namespace) -> int:
    bundle = _open_bundle(options.bundle)
    if options.output:
        check_output(options.output, tuple(options.files))
    loading = threading.Thread(
        target=_load, args=[bundle]
    )  # in parallel with reading and fingerprint of the first file
    loading.start()
    from rho2prop.prediction.outputs import WRITERS

    results = _predict_files(bundle, options)
    loading.join()
    predictions = [prediction for prediction in results if prediction is not None]
    ending = Path(options.output or "").suffix[1:]
    text = WRITERS[options.format or (ending if ending in FORMATS else "table")](predictions)
    if not options.output:
        sys.stdout.write(text)
    elif predictions:
        with atomic(options.output) as temporary:
            temporary.write_text(text, encoding="utf-8")
    n_failed = len(results) - len(predictions)
    if n_failed and len(results) > 1:
        _complain(f"{n_failed} of {len(results)} files failed, see above")
    return 1 if n_failed else 0


def _predict_files(bundle: "Bundle", options: argparse.Namespace) -> "list[Prediction | None]":
    """Predictions in the order of the files, None where a file failed (reported on stderr)."""
    from concurrent.futures import ThreadPoolExecutor

    from tqdm import tqdm

    from rho2prop.prediction.inputs import is_structure, read_input

    reading = threading.Lock()  # the parsers change Python's warning filters, which all threads share

    def predict(path: str) -> "Prediction | None":
        try:
            _refuse_folder(path)
            with reading:
                density = read_input(path, bundle, options.work, _complain)
            return bundle.predict(density, path, options.allow_other_engine, options.coverage)
        except InputError as error:
            _complain(str(error))
        except Exception as error:  # whatever a damaged file makes a parser raise must not stop the others
            _complain(f"{path}: cannot be used ({type(error).__name__}: {error})")
        return None

    total = len(options.files)
    # Densities are read and described in parallel. Calculations, which write files, stay in the main thread.
    at_once = 1 if any(map(is_structure, map(Path, options.files))) else min(options.threads, total)
    with ThreadPoolExecutor(at_once) as pool:
        predictions = (map if at_once == 1 else pool.map)(predict, options.files)
        return list(tqdm(predictions, total=total, desc="predictions", unit="file", disable=total == 1))


def _encode(options: argparse.Namespace) -> int:
    require("torch", "train", "rho2prop encode")
    bundle = _open_bundle(options.bundle)
    check_output(options.output, (options.file,))
    from rho2prop.autoencoder.latent_file import write_latent
    from rho2prop.prediction.inputs import read_input

    _refuse_folder(options.file)
    density = read_input(options.file, bundle, options.work, _complain)
    for warning in bundle.check_density(density, options.file, options.allow_other_engine):
        _complain(f"{options.file}: {warning}")
    write_latent(bundle.encode_record(density, Path(options.file).name.split(".")[0]), options.output)
    return 0


def _decode(options: argparse.Namespace) -> int:
    require("torch", "train", "rho2prop decode")
    bundle = _open_bundle(options.bundle)
    check_output(options.output, (options.latent,))
    from rho2prop.autoencoder.decoding import decode_record
    from rho2prop.autoencoder.latent_file import read_latent
    from rho2prop.densities.chgcar_writer import write_chgcar
    from rho2prop.densities.density import write_npz

    if options.id is None:
        record = read_latent(options.latent)
    else:
        from rho2prop.autoencoder.latent_database import LatentDatabase

        with LatentDatabase(options.latent) as database:
            record = database.get(options.id)
    density = decode_record(bundle.decoder, record)
    write = write_npz if options.output.lower().endswith(".npz") else write_chgcar
    write(density, options.output)
    return 0


def _app(options: argparse.Namespace) -> int:
    require("nicegui", "app", "rho2prop app")
    from rho2prop.app.main import run
    from rho2prop.app.settings import Settings

    settings = Settings(
        bundle=find_bundle(options.bundle),
        database=Path(options.database),
        report=Path(options.report),
        host=options.host,
        port=options.port,
        base_path=options.base_path,
        root=Path(options.root),
        max_upload_mb=options.max_upload_mb,
        allowed_hosts=frozenset(options.allow_host),
    )
    run(settings)
    return 0


def _open_bundle(given: str | None) -> "Bundle":
    from rho2prop.prediction.bundle.reader import load_bundle

    return load_bundle(find_bundle(given))


def _load(bundle: "Bundle") -> None:
    with contextlib.suppress(Exception):  # errors of the bundle are reported where it is used
        bundle.load()


def _message(error: Exception) -> str:
    """An error in one line; for errors of the operating system, file and reason."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return str(error)


def _write_utf8() -> None:
    """Write UTF-8 on Windows, whose default code page lacks symbols such as Θ."""
    for stream in (sys.stdout, sys.stderr):
        if sys.platform == "win32" and isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="utf-8")


def _silence() -> None:
    """Discard buffered output that nobody reads, which would raise when the interpreter ends."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            os.dup2(nowhere, stream.fileno())


def _complain(message: str) -> None:
    from tqdm import tqdm

    tqdm.write(f"rho2prop: {printable(message)}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
