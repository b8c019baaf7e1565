"""The page on CNMF: its settings are the code's, its example runs, and no parameter of CaImAn is passed over."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gpucells
from gpucells.candidates import judge
from gpucells.factorisation import background, final, judgement, settle, spatial
from gpucells.methods.cnmf import initialise_nmf
from gpucells.methods.cnmf.settings import CnmfSettings
from gpucells.settings import RunSettings

# Every parameter of these groups of CaImAn 1.12's CNMFParams, as its own object lists them.
CAIMAN = {
    "init": """K SC_kernel SC_sigma SC_thr SC_normalize SC_use_NN SC_nnn alpha_snmf center_psf gSig gSiz
    greedyroi_nmf_init_method greedyroi_nmf_max_iter init_iter kernel lambda_gnmf snmf_l1_ratio maxIter max_iter_snmf
    method_init min_corr min_pnr nIter nb normalize_init options_local_NMF perc_baseline_snmf ring_size_factor
    rolling_length rolling_sum seed_method sigma_smooth_snmf ssub ssub_B tsub""",
    "merging": "do_merge merge_thr merge_parallel",
    "patch": """border_pix del_duplicates in_memory low_rank_background memory_fact n_processes nb_patch only_init
    p_patch remove_very_bad_comps rf skip_refinement p_ssub stride p_tsub""",
    "preprocess": """check_nan compute_g include_noise lags max_num_samples_fft n_pixels_per_process noise_method
    noise_range p pixels sn""",
    "quality": """SNR_lowest cnn_lowest gSig_range min_SNR min_cnn_thr rval_lowest rval_thr use_cnn use_ecc max_ecc""",
    "spatial": """dist expandCore extract_cc maxthr medw method_exp method_ls n_pixels_per_process nb normalize_yyt_one
    nrgthr num_blocks_per_run_spat se ss thr_method update_background_components""",
    "temporal": """ITER bas_nonneg block_size_temp fudge_factor lags method_deconvolution nb noise_method noise_range
    num_blocks_per_run_temp optimize_g p s_min solvers verbosity""",
}
SIZES = {"init": 35, "merging": 3, "patch": 15, "preprocess": 11, "quality": 10, "spatial": 16, "temporal": 15}


@pytest.fixture(scope="module")
def page(repository: Path) -> str:
    return (repository / "docs" / "methods" / "cnmf.md").read_text(encoding="utf-8")


def section(page: str, title: str) -> str:
    level = title.split(" ", 1)[0]
    return re.split(rf"^#{{2,{len(level)}}} ", page.split(f"\n{title}\n", 1)[1], flags=re.MULTILINE)[0]


def rows_of(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith("| `")]


def test_the_table_of_settings_is_the_codes(page: str) -> None:
    written = re.search(r"<!-- settings: .*? -->\n(.*?)\n<!-- end of settings -->", page, re.DOTALL)
    assert written is not None
    assert written[1] == CnmfSettings.table(), "replace the table by what CnmfSettings.table() returns"


@pytest.mark.parametrize("group", CAIMAN)
def test_every_parameter_of_caiman_has_a_row(page: str, group: str) -> None:
    rows = rows_of(section(page, f"### {group}"))
    named = [name for row in rows for name in re.findall(r"`(\w+)`", row.split(" | ")[0])]
    assert sorted(named) == sorted(CAIMAN[group].split())
    assert len(named) == SIZES[group]
    assert all(len(row.split(" | ")) == 2 and len(row.split(" | ")[1]) > 5 for row in rows)


def test_settings_and_arguments_that_rows_point_to_exist(page: str) -> None:
    ours = set(CnmfSettings.model_fields) | set(RunSettings.model_fields) | {"NUMBA_NUM_THREADS"}
    starts = initialise_nmf.sparse_nmf, initialise_nmf.graph_nmf
    arguments = {name for start in starts for name in inspect.signature(start).parameters}
    checked = 0
    for row in rows_of(section(page, "## CaImAn's parameters")):
        answer = row.split(" | ")[1]
        for known, pattern in (
            (ours, r"^((?:`\w+`(?:, | and )?)+)"),
            (ours, r"run: ((?:`\w+`(?:, | and )?)+)"),
            (arguments, r"^arguments? ((?:`\w+`(?:, | and )?)+)"),
        ):
            for name in (name for names in re.findall(pattern, answer) for name in re.findall(r"`(\w+)`", names)):
                assert name in known, f"{name} of {row}"
                checked += 1
    assert checked > 40


def test_what_the_page_says_of_presets_is_so(page: str) -> None:
    two, one = (CnmfSettings.for_preset(preset, {}) for preset in ("two_photon", "one_photon"))
    different = {name for name in CnmfSettings.model_fields if getattr(two, name) != getattr(one, name)}
    assert different == {"max_eccentricity"}
    assert "`max_eccentricity = 3`" in page


def test_numbers_of_the_steps_are_the_codes(page: str) -> None:
    steps = re.sub(r"\s+", " ", section(page, "## Steps"))
    said = {
        "$2\\,(1 + \\sqrt{n/T})^2$": background.ABOVE_EDGE == 2,
        "neighbouring blocks above .4": background.SMOOTH == 0.4,
        "at most a quarter of the blocks": background.MOST == 0.25,
        "cosine of whose footprints is above .9": judgement.SAME_SHAPE == 0.9,
        "four an axis or more": background.FEWEST_BLOCKS == 4,
        "30 sweeps in the first round, 10 later": (settle.FIRST, settle.NEXT) == (30, 10),
        "ask for .6 and .8 of `min_snr`": judge.STRICTNESS == (0.6, 0.8),
        "20 sweeps over all cells and the background": final.SWEEPS == 20,
        "by more than 1e-4 of what": spatial.TOLERANCE == 1e-4,
        "below $1.2\\,\\sigma_p^2 T$": spatial.RSS == 1.2,
    }
    for words, is_so in said.items():
        assert words in steps
        assert is_so, words


@pytest.fixture(scope="module")
def example(page: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the page's example leaves, run on a simulated movie; the movie too."""
    code = re.search(r"```python\n(.*?)```", page, re.DOTALL)
    assert code is not None
    names: dict[str, Any] = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("example"))
        gpucells.simulate_movie("two_photon", path="movie.h5", shape=(300, 64, 64), seed=0)
        exec(compile(code[1], "cnmf.md", "exec"), names)
        names["movie"] = gpucells.open_movie("movie.h5").read().reshape(300, -1).astype(np.float64)
    return names


def test_the_example_finds_cells_and_columns_that_the_page_describes(page: str, example: dict[str, Any]) -> None:
    cells = example["cells"]
    assert cells.accepted.any()
    assert not cells.accepted.all()
    assert example["dff"].shape == (cells.accepted.sum(), 300)
    rows = rows_of(section(page, "### The quality table"))
    described = [name for row in rows for name in re.findall(r"`(\w+)`", row.split(" | ")[0])]
    assert sorted(set(described) - {"ar_2"}) == sorted(cells.quality)
    late = {name for row in rows[-4:] for name in re.findall(r"`(\w+)`", row.split(" | ")[0])}
    for name, column in cells.quality.items():
        assert np.isfinite(column[cells.accepted]).all(), name
        assert np.isnan(column[~cells.accepted]).all() == (name in late), name
    for modelled in (cells.denoised, cells.spikes):
        assert (np.isnan(modelled).all(axis=1) == ~cells.accepted).all()


def test_cells_and_background_of_the_example_are_the_movie(example: dict[str, Any]) -> None:
    movie, good = example["movie"], example["cells"].accepted_only()
    images, noise = good.background_images.reshape(len(good.background_images), -1), good.summary_images["noise"]
    np.testing.assert_array_equal(good.background_traces[0], 1)
    np.testing.assert_allclose(good.f0, good.footprints @ images[0] / good.footprints.sum(axis=1), rtol=1e-5)
    bright = good.footprints.max(axis=0).toarray().ravel() > 0.5

    def left(model: Any) -> float:
        return float((((movie - model) / noise.ravel()) ** 2)[:, bright].mean())

    background, light = good.background_traces.T @ images, good.traces.T @ good.footprints
    assert left(background + light) < 1.1  # noises
    assert (
        min(left(background), left(light), left(good.background_traces[:1].T @ images[:1] + light)) > 1.25
    )  # without a part
