from facedistill.report.documents.validation_outcome import (
    Validated,
    best_evaluation,
    history,
    overfitting,
)

FALLING = [Validated(100, 0.80, 2.0), Validated(200, 0.90, 1.5), Validated(300, 0.82, 1.0)]


def test_evaluations_are_read_with_the_loss_logged_last():
    records = [
        {"step": 1, "validation.accuracy": 0.5},
        {"step": 2, "loss": 3.0},
        {"step": 3, "loss": 2.0},
        {"step": 4, "validation.accuracy": 0.6},
    ]
    assert history(records, "accuracy") == [Validated(1, 0.5, None), Validated(4, 0.6, 2.0)]
    assert history(records, "nme") == []


def test_the_best_is_the_highest_accuracy_or_the_least_error():
    assert best_evaluation(FALLING, "accuracy").step == 200
    assert best_evaluation(FALLING, "nme").step == 100


def test_overfitting_is_said_where_validation_falls_with_the_loss():
    said = overfitting(FALLING, "accuracy", 3000)
    assert said.startswith(
        "overfitting: from step 200 on the loss fell from 1.5 to 1 and the validation accuracy "
        "went from 90.00 % to 82.00 %"
    )
    assert "training.epochs" in said


def test_overfitting_is_not_said_of_chance_nor_of_a_loss_that_rises():
    assert overfitting(FALLING, "accuracy", 20) is None  # Two standard errors are 13 points.
    rising = [*FALLING[:2], Validated(300, 0.82, 1.6)]
    assert overfitting(rising, "accuracy", 3000) is None
    assert overfitting(FALLING[:2], "accuracy", 3000) is None
    errors = [Validated(100, 0.050, 2.0), Validated(200, 0.051, 1.0)]
    assert overfitting(errors, "nme", 3000) is None
    assert overfitting([errors[0], Validated(200, 0.06, 1.0)], "nme", 3000) is not None
