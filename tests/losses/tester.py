"""The checks that every loss must pass, written once."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

_COPIES: dict[tuple[int, torch.device], Tensor] = {}


def on_device_of(values: Tensor, like: Tensor) -> Tensor:
    """Return a constant of a test module on the device of another tensor; it is copied there once."""
    key = (id(values), like.device)
    if key not in _COPIES:
        _COPIES[key] = values.to(like.device)
    return _COPIES[key]


class LossTester:
    """Subclass as ``Test...`` and give :meth:`loss`, :meth:`reference` and :attr:`shape`."""

    shape: tuple[int, ...]
    """Shape of student and teacher input; the first dimension is the batch."""
    scale = 2.0
    """Standard deviation of the inputs."""
    equal_is_zero = True
    """Whether the loss and its gradient vanish where the student equals the teacher."""

    def loss(self, student: Tensor, teacher: Tensor) -> Tensor:
        """The loss under test, reduced to shape ()."""
        raise NotImplementedError

    def reference(self, student: Tensor, teacher: Tensor) -> Tensor:
        """The same by the definition, written independently, for float64."""
        raise NotImplementedError

    def inputs(self, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
        generator = torch.Generator().manual_seed(7)
        student, teacher = (torch.randn(self.shape, generator=generator, dtype=torch.float64) for _ in range(2))
        return (self.scale * student).to(dtype), (self.scale * teacher).to(dtype)

    def test_value(self) -> None:
        student, teacher = self.inputs()
        actual = self.loss(student, teacher)
        assert actual.shape == () and actual.dtype == torch.float64
        torch.testing.assert_close(actual, self.reference(student, teacher).double())
        assert actual > 0

    def test_gradcheck(self) -> None:
        student, teacher = self.inputs()
        student.requires_grad_()
        assert torch.autograd.gradcheck(lambda x: self.loss(x, teacher), (student,))

    def test_teacher_gets_no_gradient(self) -> None:
        student, teacher = self.inputs()
        self.loss(student.requires_grad_(), teacher.requires_grad_()).backward()
        assert student.grad is not None and student.grad.abs().sum() > 0
        assert teacher.grad is None

    @pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16, torch.float16], ids=str)
    def test_dtype(self, dtype: torch.dtype) -> None:
        student, teacher = self.inputs(dtype)
        actual = self.loss(student.requires_grad_(), teacher)
        actual.backward()
        assert actual.dtype == torch.float32
        assert student.grad is not None and student.grad.isfinite().all()
        # The inputs are rounded before the reference sees them: what is compared is the computation alone.
        torch.testing.assert_close(
            actual.double(), self.reference(student.detach().double(), teacher.double()).double(), rtol=1e-4, atol=1e-5
        )

    def test_autocast(self) -> None:
        student, teacher = self.inputs(torch.float32)
        with torch.autocast('cpu', torch.bfloat16):
            actual = self.loss(student, teacher)
        torch.testing.assert_close(actual, self.loss(student, teacher))

    def test_batch_duplication(self) -> None:
        student, teacher = self.inputs()
        twice = self.loss(torch.cat([student, student]), torch.cat([teacher, teacher]))
        torch.testing.assert_close(twice, self.loss(student, teacher))

    def test_equal(self) -> None:
        student, _ = self.inputs(torch.float32)
        student.requires_grad_()
        actual = self.loss(student, student.detach().clone())
        actual.backward()
        if self.equal_is_zero:
            assert student.grad is not None
            torch.testing.assert_close(actual.detach(), torch.zeros(()), rtol=0, atol=1e-6)
            torch.testing.assert_close(student.grad, torch.zeros_like(student), rtol=0, atol=1e-6)

    @pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16, torch.float16], ids=str)
    @pytest.mark.parametrize('size', [1e4, 0.0])
    def test_extremes(self, size: float, dtype: torch.dtype) -> None:
        student, teacher = self.inputs()
        student = (student.sign() * size).to(dtype).requires_grad_()
        for target in (teacher.sign() * size, -student.detach(), torch.zeros_like(teacher)):
            student.grad = None
            actual = self.loss(student, target.to(dtype))
            actual.backward()
            assert actual.isfinite()
            assert student.grad is not None and student.grad.isfinite().all()

    def test_empty_batch(self) -> None:
        student = torch.zeros(0, *self.shape[1:], requires_grad=True)
        actual = self.loss(student, torch.zeros(0, *self.shape[1:]))
        actual.backward()
        assert actual.shape == () and actual == 0
        assert student.grad is not None

    @pytest.mark.cuda
    @pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a GPU')
    def test_cuda_without_host_sync(self) -> None:
        student, teacher = self.inputs(torch.float32)
        expected = self.loss(student, teacher)
        student, teacher = student.cuda().requires_grad_(), teacher.cuda()
        self.loss(student, teacher)  # copies the constants of the test
        torch.cuda.set_sync_debug_mode('error')
        try:
            actual = self.loss(student, teacher)
            actual.backward()
        finally:
            torch.cuda.set_sync_debug_mode('default')
        torch.testing.assert_close(actual.cpu(), expected)
