# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The task of the tiny models: sums, differences and products by one digit, worked out in words.

A problem is (operator, a, b). It is held out of training when a hash of it says so, so no run,
seed or phrasing ever trains on a problem of heldout-500.jsonl.
"""

import hashlib
import json
import random
from pathlib import Path

HELDOUT = Path(__file__).resolve().parent / "heldout-500.jsonl"

PHRASES = {
    "+": ["What is {a} + {b}?", "{a} + {b} = ?", "Compute {a} + {b}.", "What is {a} plus {b}?",
          "Add {a} and {b}.", "Calculate {a} + {b}.", "How much is {a} + {b}?",
          "What is the sum of {a} and {b}?", "{a} + {b}", "{a}+{b}", "What is {a}+{b}?",
          "Find {a} plus {b}.", "How much is {a} plus {b}?"],
    "-": ["What is {a} - {b}?", "{a} - {b} = ?", "Compute {a} - {b}.", "What is {a} minus {b}?",
          "Subtract {b} from {a}.", "Calculate {a} - {b}.", "How much is {a} - {b}?",
          "{a} - {b}", "{a}-{b}", "What is {a}-{b}?", "Find {a} minus {b}.",
          "How much is {a} minus {b}?"],
    "*": ["What is {a} * {b}?", "{a} * {b} = ?", "Compute {a} * {b}.", "What is {a} times {b}?",
          "Multiply {a} by {b}.", "Calculate {a} * {b}.", "How much is {a} * {b}?",
          "What is the product of {a} and {b}?", "{a} * {b}", "{a}*{b}", "What is {a} x {b}?",
          "Find {a} times {b}.", "How much is {a} times {b}?"],
}
PLACES = ["ones", "tens", "hundreds", "thousands"]


def held_out(op, a, b):
    """One problem in 32 is never trained on; the choice depends on the problem alone."""
    return hashlib.sha256(f"{a} {op} {b}".encode()).digest()[0] % 32 == 0


def random_number(rng, most=4):
    digits = rng.choices(range(1, most + 1), weights=range(2, most + 2))[0]
    return rng.randrange(0 if digits == 1 else 10 ** (digits - 1), 10 ** digits)


def random_problem(rng):
    op = rng.choices("+-*", weights=[3, 4, 3])[0]
    if op == "*":
        a, b = random_number(rng), rng.randrange(10)
        return (op, b, a) if rng.random() < 0.25 else (op, a, b)
    a, b = random_number(rng), random_number(rng)
    if op == "-" and rng.random() < 0.25:
        # Neighbours: otherwise numbers that agree in leading digits would be rare.
        b = min(9999, max(0, a + rng.randrange(-10, 11) * rng.choice([1, 1, 10, 100])))
    return op, a, b


def training_problem(rng):
    while True:
        problem = random_problem(rng)
        if not held_out(*problem):
            return problem


def prompt_of(rng, op, a, b):
    text = rng.choice(PHRASES[op]).format(a=a, b=b)
    roll = rng.random()
    if roll < 0.05:
        text = text[0].lower() + text[1:]
    elif roll < 0.10 and text[-1] in "?.":
        text = text[:-1]
    return text


def answer_of(op, a, b):
    return a + b if op == "+" else a - b if op == "-" else a * b


def thoughts_of(op, a, b):
    """The worked solution. Every line follows from the line before and one column."""
    lines = []
    if op == "*":
        if a < 10 <= b:
            a, b = b, a
        lines.append(f"Line up {a:04} times {b}.")
        carry, written = 0, ""
        for place, digit in zip(PLACES, map(int, f"{a:04}"[::-1])):
            product = digit * b
            total = product + carry
            lines.append(f"{place}: {digit}*{b}={product}, {product}+{carry}={total}, "
                         f"write {total % 10}, carry {total // 10}")
            written, carry = str(total % 10) + written, total // 10
        written = str(carry) + written
    elif op == "+":
        lines.append(f"Line up {a:04} plus {b:04}.")
        carry, written = 0, ""
        for place, x, y in zip(PLACES, map(int, f"{a:04}"[::-1]), map(int, f"{b:04}"[::-1])):
            total = x + y + carry
            lines.append(f"{place}: {x}+{y}+{carry}={total}, write {total % 10}, carry {total // 10}")
            written, carry = str(total % 10) + written, total // 10
        written = str(carry) + written
    else:
        lines.append(f"Line up {a:04} minus {b:04}.")
        compared = []
        for x, y in zip(f"{a:04}", f"{b:04}"):
            compared.append(x + ("=" if x == y else ">" if x > y else "<") + y)
            if x != y:
                break
        if a < b:
            lines.append(f"Compare {' '.join(compared)}, so swap and negate: {b:04} minus {a:04}.")
            a, b = b, a
        else:
            lines.append(f"Compare {' '.join(compared)}, so keep: {a:04} minus {b:04}.")
        borrow, written = 0, ""
        for place, x, y in zip(PLACES, map(int, f"{a:04}"[::-1]), map(int, f"{b:04}"[::-1])):
            total = x - y - borrow
            lines.append(f"{place}: {x}-{y}-{borrow}={total}, write {total % 10}, borrow {int(total < 0)}")
            written, borrow = str(total % 10) + written, int(total < 0)
    lines.append(f"Together {written}, that is {int(written)}.")
    return "\n".join(lines)


def final_of(op, a, b):
    return f"{a} {op} {b} = {answer_of(op, a, b)}"


def heldout_set(count):
    rng = random.Random("held out")
    found, seen = [], set()
    while len(found) < count:
        problem = random_problem(rng)
        if held_out(*problem) and problem not in seen:
            seen.add(problem)
            found.append({"prompt": prompt_of(rng, *problem), "answer": final_of(*problem)})
    return found


def write_heldout(path=HELDOUT):
    path.write_text("".join(json.dumps(p) + "\n" for p in heldout_set(500)), encoding="utf-8")


def read_heldout(path=HELDOUT):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
