"""Names of detectors -> prefixes."""

from pathlib import Path

import pytest

from facedeploy.artifact.named import DETECTORS, available_detectors, find_artifact, shipped_config
from facedeploy.config.load import load_build_config
from facedeploy.config.shipped import BUILD, find_config, shipped_configs
from facedeploy.core.errors import ArtifactError, ConfigError
from facedeploy.models.specs import MODELS


@pytest.fixture(autouse=True)
def current_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FACEDEPLOY_ARTIFACTS", raising=False)
    return tmp_path


def make(folder):
    folder.mkdir(parents=True)
    (folder / "mod.json").touch()


def test_known_names_are_those_of_the_nets_and_of_face_detection():
    of_face_detection = {"RetinaNetMobileNetV1", "RetinaNetResNet50", "DSFDDetector"}
    of_lffd = {"LFFD", "LFFD_v2", "lffd_head", "lffd_plate", "lffd_face_v1", "lffd_face_v2"}
    assert set(available_detectors) >= of_face_detection | of_lffd | set(MODELS)


def test_all_detectors_that_have_a_shipped_config_are_known():
    configs = {name for name in shipped_configs(BUILD) if name.endswith("_fp32.yaml")}
    assert set(map(shipped_config, DETECTORS)) == configs


def test_no_name_means_two_detectors():
    names = [name for detector, also in DETECTORS.items() for name in (detector, *also)]
    assert len(set(names)) == len(names)
    assert tuple(names) == available_detectors


@pytest.mark.parametrize("given", ["x/mod", "./mod", "/somewhere/else", Path("mobilenet0.25")])
def test_a_path_is_returned_as_it_is_whether_or_not_there_is_one(given):
    assert find_artifact(given) == Path(given)


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("name", available_detectors)
def test_a_name_is_what_the_command_in_its_error_makes(name, precision):
    with pytest.raises(ArtifactError) as error:
        find_artifact(name, precision)
    said = str(error.value)
    assert said.startswith(f"{name} in {precision}: there is no {Path.cwd()}/deploy_weights/")
    assert len(said.splitlines()) == 1
    file, *options = said.partition("`vamc compile ")[2].partition("`")[0].split()
    config = load_build_config(find_config(file).path, options[1::2])
    assert config.backend.dtype == precision
    made = Path(config.workspace.path) / config.name
    make(made)
    assert find_artifact(name, precision) == made / "mod"


def test_the_names_of_one_net_mean_one_artifact():
    make(Path("deploy_weights/mobilenet0.25_fp32"))
    make(Path("deploy_weights/resnet50_fp32"))
    assert find_artifact("mobilenet0.25") == find_artifact("RetinaNetMobileNetV1")
    assert find_artifact("Resnet50") == find_artifact("RetinaNetResNet50") != find_artifact("mobilenet0.25")
    make(Path("deploy_weights/lffd_face_v1_fp32"))
    assert find_artifact("LFFD") == find_artifact("lffd_face_v1") == Path("deploy_weights/lffd_face_v1_fp32/mod")


def test_the_artifact_of_the_flow_is_the_mobilenet_too():
    make(Path("deploy_weights/official_retinaface_fp32"))
    assert find_artifact("RetinaNetMobileNetV1") == Path("deploy_weights/official_retinaface_fp32/mod")
    make(Path("deploy_weights/mobilenet0.25_fp32"))
    assert find_artifact("RetinaNetMobileNetV1") == Path("deploy_weights/mobilenet0.25_fp32/mod")


def test_the_environment_variable_names_the_folder_that_alone_is_looked_in(current_folder, monkeypatch):
    make(Path("deploy_weights/mobilenet0.25_fp32"))
    monkeypatch.setenv("FACEDEPLOY_ARTIFACTS", str(current_folder / "models"))
    with pytest.raises(ArtifactError, match=rf"_fp32\.yaml --set workspace\.path={current_folder}/models`"):
        find_artifact("mobilenet0.25")
    make(current_folder / "models" / "mobilenet0.25_fp32")
    assert find_artifact("mobilenet0.25") == current_folder / "models/mobilenet0.25_fp32/mod"


def test_any_other_name_is_an_artifacts_folder(current_folder):
    make(Path("deploy_weights/mine"))
    assert find_artifact("mine") == find_artifact("mine", "fp16") == Path("deploy_weights/mine/mod")
    with pytest.raises(ArtifactError) as error:
        find_artifact("RetinaNetMobilenetV1")
    assert str(error.value) == (
        f"'RetinaNetMobilenetV1' is no detector ({', '.join(available_detectors)}) and "
        f"no artifact's folder: there is no {current_folder}/deploy_weights/RetinaNetMobilenetV1/mod.json; "
        "did you mean RetinaNetMobileNetV1?"
    )


@pytest.mark.parametrize("given", [None, "", 3, b"x"])
def test_what_is_no_name_is_one_sentence(given):
    with pytest.raises(ConfigError, match=r"name_or_prefix: got .*, expected a name \(mobilenet0\.25, .*or the prefix"):
        find_artifact(given)
