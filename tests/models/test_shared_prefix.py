import torch

from alignkit.models.shared_prefix import SHORTEST, pack

PROMPT = list(range(100, 100 + SHORTEST))


def packed(rows, asked_from=0, **options):
    """Rows of different lengths, padded with 0 on the right; all hidden states from one on are wanted."""
    width = max(map(len, rows))
    ids = torch.tensor([row + [0] * (width - len(row)) for row in rows])
    attention = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows])
    asked = attention.bool() & (torch.arange(width) >= asked_from)
    return pack({"input_ids": ids, "attention_mask": attention}, asked, **options)


def test_a_prompt_lies_once_before_all_its_answers():
    found = packed([[*PROMPT, 7, 8], [*PROMPT, 5]])
    assert found.input_ids.tolist() == [[*PROMPT, 5, 7, 8]]
    assert found.position_ids.tolist() == [[*range(17), 16, 17]]
    assert found.places.tolist() == [[*range(16), 17, 18], [*range(16), 16, -1]]
    assert found.rows.tolist() == [[*[2] * 16, 1, 1, 1]]
    assert [(run.before, run.start, run.length) for run in found.runs] == [((), 0, 17), (((0, 16),), 16, 2)]


def test_answers_that_begin_alike_share_that_too():
    found = packed([[*PROMPT, 7, 8, 1], [*PROMPT, 7, 8, 2], [*PROMPT, 5]])
    assert found.input_ids.tolist() == [[*PROMPT, 5, 7, 8, 1, 2]]
    assert found.runs[2].before == ((0, 16), (1, 2))
    assert found.places[1].tolist() == [*range(16), 17, 18, 20]


def test_equal_rows_are_computed_once():
    found = packed([[*PROMPT, 7], [*PROMPT, 7]])
    assert found.input_ids.tolist() == [[*PROMPT, 7]]
    assert len(found.runs) == 1
    assert torch.equal(found.places[0], found.places[1])


def test_few_common_tokens_are_not_worth_it():
    found = packed([[*PROMPT[1:], 7], [*PROMPT[1:], 5]])
    assert found.input_ids.size(1) == 2 * SHORTEST
    assert all(not run.before for run in found.runs)


def test_sharing_can_be_switched_off_and_padding_stays_out():
    found = packed([[*PROMPT, 7, 8], [*PROMPT, 5]], share=False)
    assert found.input_ids.tolist() == [[*PROMPT, 5, *PROMPT, 7, 8]]
    assert found.rows.eq(1).all()


def test_what_follows_the_last_wanted_token_is_left_out():
    ids = torch.tensor([[*PROMPT, 7, 8, 9]])
    asked = torch.zeros_like(ids, dtype=torch.bool)
    asked[0, 16] = True
    assert pack({"input_ids": ids}, asked).input_ids.tolist() == [[*PROMPT, 7]]
    assert pack({"input_ids": ids}, asked, trim=False).input_ids.tolist() == ids.tolist()


def test_some_token_is_left_where_none_is_wanted():
    ids = torch.tensor([PROMPT, PROMPT])
    assert pack({"input_ids": ids}, torch.zeros_like(ids, dtype=torch.bool)).input_ids.tolist() == [[100]]


def test_rows_that_hold_several_texts_are_taken_apart():
    ids = torch.tensor([[*PROMPT, 7, *PROMPT, 5]])
    positions = torch.tensor([[*range(17), *range(17)]])
    found = pack({"input_ids": ids, "position_ids": positions}, torch.ones_like(ids, dtype=torch.bool))
    assert found.input_ids.tolist() == [[*PROMPT, 5, 7]]
    assert found.places.tolist() == [[*range(16), 17, *range(16), 16]]


def test_padding_may_lie_on_the_left():
    ids = torch.tensor([[0, *PROMPT, 7], [*PROMPT, 5, 6]])
    attention = torch.tensor([[0] + [1] * 17, [1] * 18])
    found = pack({"input_ids": ids, "attention_mask": attention}, attention.bool())
    assert found.input_ids.tolist() == [[*PROMPT, 5, 6, 7]]
    assert found.places[0].tolist() == [-1, *range(16), 18]
