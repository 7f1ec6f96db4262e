"""Which names a pickle may import: harmless ones, dangerous ones, and all others.

Harmless is what builds data and objects of the frameworks and does nothing else, whatever it is
given. Dangerous is what public scanners and write-ups of attacks list: modelscan, picklescan,
fickling, skops. A name that is neither is told as unknown.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

_CLASS = re.compile(r"_?[A-Z][A-Za-z0-9_]*")
_NUMPY_NUMBER = re.compile(
    r"(u?int|float|complex)(8|16|32|64|128|256)|u?longlong|longdouble|clongdouble|(u?int)(p|c)|bool_?"
    r"|str_|bytes_|void|object_|datetime64|timedelta64|half|single|double"
)
_UFUNC = re.compile(
    r"log(1p|2|10)?|exp(2|m1)?|sqrt|cbrt|square|reciprocal|abs(olute)?|fabs|negative|sign|sin|cos|tan"
    r"|arc(sin|cos|tan)h?|sinh|cosh|tanh|add|subtract|multiply|(true_|floor_)?divide|power|m(ax|in)imum"
    r"|floor|ceil|rint|clip|mean|median|nan|isnan|isfinite"
)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is known of a name."""

    rule: str
    """Of a finding; empty: harmless."""
    why: str = ""


_HARMLESS_NAME = Verdict("")
UNKNOWN_IMPORT = "unknown-import"
_UNKNOWN_NAME = Verdict(UNKNOWN_IMPORT)

_HARMLESS: Mapping[str, str] = {
    "builtins": "object set frozenset list dict tuple int float complex bool str bytes bytearray "
    "slice range Exception ValueError TypeError KeyError RuntimeError NotImplementedError",
    "copyreg": "_reconstructor __newobj__",
    "_codecs": "encode",
    "collections": "OrderedDict defaultdict Counter deque",
    "datetime": "datetime date time timedelta timezone",
    "decimal": "Decimal",
    "fractions": "Fraction",
    "uuid": "UUID",
    "functools": "partial",
    "pathlib": "PosixPath PurePosixPath Path",
    "argparse": "Namespace",
    "types": "SimpleNamespace",
    "re": "_compile",
    "numpy": "ndarray dtype matrix",
    "numpy.core.multiarray": "_reconstruct scalar",
    "numpy._core.multiarray": "_reconstruct scalar",
    "numpy.core.numeric": "_frombuffer",
    "numpy._core.numeric": "_frombuffer",
    "numpy.ma": "MaskedArray",
    "numpy.ma.core": "MaskedArray _mareconstruct",
    "numpy.random._pickle": "__randomstate_ctor __generator_ctor __bit_generator_ctor",
    "numpy.random.mtrand": "RandomState",
    "numpy.random._mt19937": "MT19937 __pyx_unpickle_MT19937",
    "numpy.random._pcg64": "PCG64 PCG64DXSM",
    "numpy.random.bit_generator": "SeedSequence __pyx_unpickle_SeedSequence",
    "joblib.numpy_pickle": "NumpyArrayWrapper",
    "pandas.core.frame": "DataFrame",
    "pandas.core.series": "Series",
    "pandas.core.indexes.base": "Index _new_Index",
    "pandas.core.indexes.range": "RangeIndex",
    "pandas.core.indexes.multi": "MultiIndex",
    "pandas.core.internals.managers": "BlockManager SingleBlockManager",
    "pandas._libs.internals": "_unpickle_block BlockManager",
    "pandas.core.dtypes.dtypes": "CategoricalDtype",
    "pandas.core.arrays.categorical": "Categorical",
    "scipy.sparse._csr": "csr_matrix csr_array",
    "scipy.sparse._csc": "csc_matrix csc_array",
    "scipy.sparse._coo": "coo_matrix coo_array",
    "scipy.interpolate._bsplines": "BSpline",
    "scipy.interpolate._interpolate": "interp1d",
    "scipy.interpolate.interpolate": "interp1d",
    "sklearn.utils": "Bunch",
    "sklearn.utils._bunch": "Bunch",
    "sklearn.metrics._dist_metrics": "newObj",
    "sklearn.neighbors._kd_tree": "newObj",
    "sklearn.neighbors._ball_tree": "newObj",
    "sklearn.compose._column_transformer": "make_column_selector",
    "sklearn.feature_selection._univariate_selection": "f_classif f_regression f_oneway "
    "r_regression chi2",
    "sklearn.feature_selection._mutual_info": "mutual_info_classif mutual_info_regression",
    "sklearn.metrics.pairwise": "euclidean_distances rbf_kernel linear_kernel",
    "sklearn.utils.validation": "check_array",
    "xgboost.core": "Booster",
    "xgboost.sklearn": "XGBClassifier XGBRegressor XGBRanker XGBRFClassifier XGBRFRegressor",
    "lightgbm.basic": "Booster",
    "lightgbm.sklearn": "LGBMClassifier LGBMRegressor LGBMRanker",
    "catboost.core": "CatBoostClassifier CatBoostRegressor CatBoost CatBoostRanker",
    "torch": "Size device Tensor dtype Generator FloatStorage DoubleStorage HalfStorage "
    "BFloat16Storage LongStorage IntStorage ShortStorage CharStorage ByteStorage BoolStorage "
    "ComplexFloatStorage ComplexDoubleStorage QUInt8Storage QInt8Storage QInt32Storage "
    "QUInt4x2Storage QUInt2x4Storage float32 float64 float16 bfloat16 int64 int32 int16 int8 uint8 "
    "bool complex64 complex128 strided sparse_coo per_tensor_affine per_channel_affine",
    "torch.storage": "UntypedStorage TypedStorage",
    "torch.serialization": "_get_layout",
    "torch.nn.parameter": "Parameter Buffer",
    "torch._utils": "_rebuild_tensor _rebuild_tensor_v2 _rebuild_tensor_v3 _rebuild_parameter "
    "_rebuild_parameter_with_state _rebuild_sparse_tensor _rebuild_qtensor "
    "_rebuild_meta_tensor_no_storage",
    "torch.jit._pickle": "build_intlist build_doublelist build_boollist build_tensorlist "
    "build_tensor_from_id restore_type_tag",
}
"""By module. What can be given functions to call calls none but such as were imported, too."""

_SKLEARN = re.compile(
    r"sklearn\.(_loss|calibration|cluster|compose|covariance|cross_decomposition|decomposition"
    r"|discriminant_analysis|dummy|ensemble|feature_extraction|feature_selection|frozen"
    r"|gaussian_process|impute|isotonic|kernel_approximation|kernel_ridge|linear_model|manifold"
    r"|metrics|mixture|model_selection|multiclass|multioutput|naive_bayes|neighbors|neural_network"
    r"|pipeline|preprocessing|random_projection|semi_supervised|svm|tree)(\..*)?"
)
_TORCH_MODULES = re.compile(r"torch\.(nn\.modules|ao\.nn\.quantized\.modules)\.[a-z0-9_]+")
_NOT_OF_THEIRS = frozenset(("Parallel", "Path", "Memory"))
"""Classes that modules of scikit-learn have from elsewhere."""

_TORCHSCRIPT = "__torch__"
"""Where TorchScript has the classes whose code lies in the same archive; no module of Python."""

_CODE = "runs-code"
_DANGEROUS: tuple[tuple[str, str, str], ...] = (
    (
        _CODE,
        "it can start programs",
        "os posix nt subprocess pty popen2 _posixsubprocess multiprocessing concurrent asyncio "
        "pexpect sh commands platform signal uuid",
    ),
    (
        _CODE,
        "it can run any Python code",
        "builtins __builtins__ sys runpy importlib imp _imp pkgutil zipimport code codeop types "
        "_pyrepl inspect gc ast",
    ),
    (
        _CODE,
        "it can unpickle more, which nobody has looked at",
        "pickle _pickle cPickle dill cloudpickle marshal shelve joblib jsonpickle yaml",
    ),
    (
        _CODE,
        "it can run code that it is given as text or by name",
        "bdb pdb cProfile profile timeit trace doctest pydoc idlelib lib2to3 unittest pytest "
        "test _testcapi distutils setuptools pip ensurepip venv compileall py_compile",
    ),
    (
        _CODE,
        "it can call native code and change any memory",
        "ctypes _ctypes cffi _cffi_backend mmap numba llvmlite",
    ),
    (
        _CODE,
        "it can call, or reach into, what others import",
        "operator _operator functools itertools threading _thread sched atexit weakref contextlib",
    ),
    (
        "reaches-network",
        "it can open connections",
        "socket _socket ssl _ssl http httplib urllib urllib2 urllib3 requests aiohttp httpx "
        "ftplib smtplib poplib imaplib nntplib telnetlib xmlrpc socketserver webbrowser select "
        "selectors paramiko boto3 fsspec s3fs",
    ),
    (
        "writes-file",
        "it can read, write or delete files",
        "shutil io _io tempfile glob fileinput filecmp tarfile zipfile gzip bz2 lzma sqlite3 "
        "_sqlite3 dbm csv linecache logging syslog configparser posixpath ntpath genericpath "
        "pathlib nturl2path fcntl",
    ),
)
"""A rule, why, and the modules, by the first component of their names."""

_DANGEROUS_MODULES: Mapping[str, str] = {
    "numpy.f2py": "it can run code that it is given as text",
    "numpy.testing": "it can run code that it is given as text",
    "numpy.distutils": "it can start programs",
    "numpy.ctypeslib": "it can load libraries",
    "numpy.lib.npyio": "it can read and write files, pickles among them",
    "scipy.stats._distn_infrastructure": "it runs code that lies in the pickle as text",
    "scipy.stats._continuous_distns": "it runs code that lies in the pickle as text",
    "scipy.stats._discrete_distns": "it runs code that lies in the pickle as text",
    "torch.hub": "it can fetch code and run it",
    "torch.utils": "it can start programs, compile code or load pickles",
    "torch._dynamo": "it can run code that it is given as text",
    "torch._inductor": "it can compile code and start programs",
    "torch.fx": "it runs source code that lies in the pickle",
    "torch.package": "it runs source code that lies in the archive",
    "torch.jit.unsupported_tensor_ops": "it can run code that it is given as text",
    "torch.distributed": "it can start programs and open connections",
    "torch.cuda.jiterator": "it compiles code that it is given as text",
    "pandas.io": "it can read and write files, pickles among them",
    "keras.src.saving": "it can run code that lies in other files",
    "tensorflow.python": "it can read, write and run what it is given",
}
_DANGEROUS_NAMES: Mapping[str, str] = {
    "numpy": "load loadtxt fromfile save savez savetxt memmap genfromtxt DataSource fromregex "
    "frompyfunc vectorize",
    "numpy._core._internal": "_ctypes",
    "numpy.core": "_ufunc_reconstruct",
    "numpy._core": "_ufunc_reconstruct",
    "torch": "load save hub compile classes ops",
    "torch.serialization": "load save",
    "torch.storage": "_load_from_bytes",
    "torch.jit": "load save",
    "pandas": "read_pickle eval read_csv read_sql read_html",
    "pandas.core.computation.eval": "eval",
    "scipy.io": "loadmat savemat",
    "copyreg": "add_extension pickle constructor",
    "_codecs": "register lookup decode",
}


def verdict(module: str, name: str) -> Verdict:
    """What is known of a name that a pickle would import."""
    if is_harmless(module, name):
        return _HARMLESS_NAME
    dangerous = _dangerous(module, name)
    return dangerous if dangerous is not None else _UNKNOWN_NAME


def is_harmless(module: str, name: str) -> bool:
    """Whether a name only builds data, or an object that its framework has made."""
    if name in _HARMLESS.get(module, "").split():
        return True
    if module.partition(".")[0] == _TORCHSCRIPT:
        return True
    # A dotted name reaches through what it is imported from.
    if "." in name:
        return False
    if module == "numpy":
        return bool(_NUMPY_NUMBER.fullmatch(name) or _UFUNC.fullmatch(name))
    if module == "numpy.dtypes":
        return name.endswith("DType")
    if _SKLEARN.fullmatch(module):
        is_class = bool(_CLASS.fullmatch(name)) and name not in _NOT_OF_THEIRS
        return is_class or name.startswith("__pyx_unpickle_")
    return bool(_TORCH_MODULES.fullmatch(module) and _CLASS.fullmatch(name))


def _dangerous(module: str, name: str) -> Verdict | None:
    package = module.partition(".")[0]
    for rule, why, names in _DANGEROUS:
        if package in names.split():
            return Verdict(rule, why)
    for prefix, why in _DANGEROUS_MODULES.items():
        if module == prefix or module.startswith(f"{prefix}."):
            return Verdict(_CODE, why)
    if name.partition(".")[0] in _DANGEROUS_NAMES.get(module, "").split():
        return Verdict(_CODE, "it can load more code or data, or call what it is given")
    if "." in name:
        return Verdict(_CODE, "it reaches through a module to something else")
    return None
