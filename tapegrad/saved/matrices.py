"""What kernels of linear algebra rely on, checked again: `verify` for factorisations and solves."""

from __future__ import annotations

from tapegrad.kernels.lapack.apart import VALUES
from tapegrad.ops.table import ROWS
from tapegrad.saved.verify import Static, _alike, _check, _flag, _names, _whole, require
from tapegrad.spec import Spec, intern_spec, real_dtype

__all__: list[str] = []


def _inexact(name: str, spec: Spec) -> None:
    right = spec.floating or (spec.differentiable and bool(ROWS[name].complex))
    require(right, f"{name}: the operand must be floating point, not {spec.dtype}")


def _of_kind(name: str, x: Spec, values: Spec) -> None:
    """Values are real, or, for the rows that say so, complex as the matrices are."""
    if name.endswith("_complex"):
        require(x.kind == "c", f"{name}: operands of dtype {x.dtype}")
        _alike(name, x, values)
    else:
        _parts(name, x, values)


def _parts(name: str, x: Spec, y: Spec) -> None:
    """The second operand has the dtype of the first one's parts."""
    require(y.dtype == real_dtype(x.dtype), f"{name}: operands of dtypes {x.dtype} and {y.dtype}")


@_check("cholesky", "lu", "cholesky_adjoint", "expm", "expm_derivative")
def _factorisation(name: str, specs: tuple[Spec, ...], static: Static) -> None:
    _names(name, static)
    _square(name, specs[0])
    for other in specs[1:]:
        require(other is specs[0], f"{name}: {specs[0]!r} and {other!r} differ")


@_check("solve_triangular")
def _solve_triangular(name: str, specs: tuple[Spec, ...], static: Static) -> None:
    _names(name, static, "lower", "trans", "unit_diagonal")
    for key in static:
        _flag(name, static, key)
    _system(name, *specs)


@_check("solve")
def _lu_solve(name: str, specs: tuple[Spec, ...], static: Static) -> None:
    _names(name, static, "trans")
    _flag(name, static, "trans")
    _system(name, specs[0], specs[1])
    _lu_factors(name, specs[2])
    require(specs[2].shape[-1] == specs[1].shape[-1], f"{name}: factors of shape {specs[2].shape}")


@_check("lu_sign", "log_abs_det", "log_det", "det")
def _determinant(name: str, specs: tuple[Spec, ...], static: Static) -> None:
    _names(name, static)
    _lu_factors(name, specs[-1])
    if len(specs) > 1:
        _square(name, specs[0])


@_check("eigh", "eigvalsh")
def _eigen(name: str, specs: tuple[Spec, ...], static: Static) -> None:
    _names(name, static, "upper")
    _flag(name, static, "upper")
    _square(name, specs[0])


@_check("eig", "eigvals")
def _general(name: str, specs: tuple[Spec, ...], static: Static) -> None:
    _names(name, static)
    _square(name, specs[0])


@_check("svd", "svdvals", "qr", "complement")
def _rectangular(name: str, specs: tuple[Spec, ...], static: Static) -> None:
    _names(name, static)
    _inexact(name, specs[0])
    m, n = specs[0].shape[-2:] if specs[0].ndim >= 2 else (-1, 0)
    least = n if name in ("qr", "complement") else 0
    require(m >= least, f"{name}: shape {specs[0].shape}")


@_check("svd_factors")
def _svd_factors(name: str, specs: tuple[Spec, ...], static: Static) -> None:
    _rectangular(name, specs, static)
    _parts(name, *specs)
    require(specs[1].shape == specs[0].shape[:-2], f"{name}: tolerances of shape {specs[1].shape}")


@_check("svd_solve")
def _svd_solve(name: str, specs: tuple[Spec, ...], static: Static) -> None:
    b, a, factors = specs
    _names(name, static, "trans")
    _flag(name, static, "trans")
    _rectangular(name, (a,), {})
    _alike(name, b, a)
    _alike(name, b, factors)
    m, n = a.shape[-2:]
    rows, leading = n if static["trans"] else m, a.ndim == 2 or a.shape[:-2] == b.shape[:-2]
    fits = b.ndim >= 2 and b.shape[-2] == rows and leading
    require(fits, f"{name}: matrices of shape {a.shape} and right-hand sides of shape {b.shape}")
    whole = (*a.shape[:-2], (m + 1 + n) * min(m, n))
    require(factors.shape == whole, f"{name}: factors of shape {factors.shape}")


@_check("apart", "apart_complex")
def _apart(name: str, specs: tuple[Spec, ...], static: Static) -> None:
    x, values = specs
    _names(name, static, "mode")
    mode = _whole(name, "mode", static["mode"])
    require(mode <= VALUES, f"{name}: mode {mode}")
    _rectangular(name, (x,), {})
    _of_kind(name, x, values)
    fits = values.shape == (*x.shape[:-2], x.shape[-1]) and (mode == VALUES or x.shape[-2] == x.shape[-1])
    require(fits, f"{name}: shapes {x.shape} and {values.shape}")


@_check("untied", "untied_complex")
def _untied(name: str, specs: tuple[Spec, ...], static: Static) -> None:
    x, values = specs
    _names(name, static)
    _rectangular(name, (x,), {})
    _of_kind(name, x, values)
    require(values.shape == (*x.shape[:-2], x.shape[-1]), f"{name}: shapes {x.shape} and {values.shape}")


@_check("eigenvalues", "general_eigenvalues", "singular_values")
def _values(name: str, specs: tuple[Spec, ...], static: Static) -> None:
    a, packed = specs
    _rectangular(name, (a,), static)
    if name == "general_eigenvalues":
        require(packed.kind == "c", f"{name}: a decomposition of dtype {packed.dtype}")
        _parts(name, packed, a if a.kind != "c" else intern_spec(a.shape, real_dtype(a.dtype)))
    else:
        _alike(name, a, packed)
    m, n = a.shape[-2:]
    width = (m + 1 + n) * min(m, n) if name == "singular_values" else n * n + n
    fits = packed.shape == (*a.shape[:-2], width) and (m == n or name == "singular_values")
    require(fits, f"{name}: a decomposition of shape {packed.shape} for shape {a.shape}")


@_check("regular")
def _regular(name: str, specs: tuple[Spec, ...], static: Static) -> None:
    x, factors = specs
    _names(name, static)
    _rectangular(name, (x,), {})
    _lu_factors(name, factors)
    _alike(name, x, factors)
    require(x.shape[:-2] == factors.shape[:-2], f"{name}: shapes {x.shape} and {factors.shape}")


@_check("basis_free")
def _basis_free(name: str, specs: tuple[Spec, ...], static: Static) -> None:
    x, s = specs
    _names(name, static, "diagonal")
    _flag(name, static, "diagonal")
    _rectangular(name, (x,), {})
    _square(name, s)
    _alike(name, x, s)
    require(x.shape[:-2] == s.shape[:-2], f"{name}: shapes {x.shape} and {s.shape}")


def _square(name: str, a: Spec) -> None:
    _inexact(name, a)
    require(a.ndim >= 2 and a.shape[-1] == a.shape[-2], f"{name}: shape {a.shape} is not square")


def _lu_factors(name: str, factors: Spec) -> None:
    _inexact(name, factors)
    shape = factors.shape
    require(len(shape) >= 2 and shape[-2] == shape[-1] + 1, f"{name}: factors of shape {shape}")


def _system(name: str, b: Spec, a: Spec) -> None:
    _square(name, a)
    _alike(name, b, a)
    leading = a.ndim == 2 or a.shape[:-2] == b.shape[:-2]
    fits = b.ndim >= 2 and b.shape[-2] == a.shape[-1] and leading
    require(fits, f"{name}: a matrix of shape {a.shape} and right-hand sides of shape {b.shape}")
