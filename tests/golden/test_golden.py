import pytest
from torch import float64, tensor
from torch.testing import assert_close

from alignkit.objectives import names
from tests.golden import write

TABLE = write.read()


def test_every_objective_has_a_row():
    assert list(TABLE) == names()


@pytest.mark.parametrize("name", TABLE)
def test_numbers_are_those_of_the_table(name):
    golden = TABLE[name]
    now = write.row(name, golden["hyperparameters"])
    assert now["count"] == golden["count"]
    assert list(now["gradients"]) == list(golden["gradients"])
    for new, old in [
        (now["loss"], golden["loss"]),
        (now["terms"], golden["terms"]),
        *((now["gradients"][field], golden["gradients"][field]) for field in golden["gradients"]),
    ]:
        assert_close(tensor(new, dtype=float64), tensor(old, dtype=float64), rtol=1e-11, atol=1e-14)


def test_writing_keeps_hyperparameters_and_twelve_digits(tmp_path, monkeypatch, capsys):
    copy = tmp_path / "objectives.json"
    copy.write_text('{"dpo": {"hyperparameters": {"beta": 0.25}}}')
    monkeypatch.setattr(write, "TABLE", copy)
    write.main()
    rows = write.read()
    assert list(rows) == names()
    assert rows["dpo"]["hyperparameters"] == {"beta": 0.25}
    assert max(len(f"{abs(number):.15g}".replace(".", "").strip("0")) for number in rows["dpo"]["terms"]) <= 12
    write.main()
    assert capsys.readouterr().out.endswith(f"{len(rows)} rows, changed: none\n")
