"""Programs for problems of the Multi-Turn Programming Benchmark, written by hand from the problems' steps.

Each is a `string.Template`: `$name` stands for the input of that name, written as the benchmark writes it into its
prompts. A test fills them with every case's inputs and expects the judge to pass all.
"""

from __future__ import annotations

PROGRAMS: dict[str, str] = {
    "1": """
my_string = "$A".lower()
chars = sorted(set(my_string))
print(chars)
""",
    "2": """
numbers = $numbers
total = sum(numbers)
normalized = [n / total * 100 for n in numbers]
formatted = [format(n, ".1f") for n in normalized]
print(formatted)
""",
    "3": """
def minutes_to_seconds(minutes):
    return 60 * minutes

def hours_to_seconds(hours):
    return 3600 * hours

print(hours_to_seconds($a1) + minutes_to_seconds($a2))
""",
    "4": """
def fibonacci(n):
    a, b = 0, 1
    for _ in range(n):
        a, b = b, a + b
    return a

def square(x):
    return x * x

print(square(fibonacci($a1)))
""",
    "5": """
my_numbers = $A
n_neg = sum(x < 0 for x in my_numbers)
n_pos = sum(x > 0 for x in my_numbers)
print(max(n_neg, n_pos))
""",
    "8": """
def bigrams(text):
    words = text.split()
    return list(zip(words, words[1:]))

sentence = "$a1"
print(bigrams(sentence))
""",
    "10": """
def to_binary(number):
    return format(number, "b")

def to_hex(text):
    return int(text, 2)

my_hex = $a1
my_binary = to_binary(my_hex)
result = to_hex(my_binary)
print(result)
""",
    "12": """
class Player:
    def __init__(self, name, age, height, weight):
        self.name, self.age, self.height, self.weight = name, age, height, weight

    def get_age(self):
        return f"{self.name} is age {self.age}"

    def get_height(self):
        return f"{self.name} is {self.height} cm"

    def get_weight(self):
        return f"{self.name} weighs {self.weight} kg"

player = Player("$a1", $a2, $a3, $a4)
print(player.get_$a5())
""",
    "13": """
def num_len(num):
    return len(str(num))

my_list = $a1
print(max(my_list, key=num_len))
""",
    "16": """
class Person:
    def __init__(self, name, id):
        self.name, self.id = name, id

    def __hash__(self):
        return hash(self.$a1)

    def __eq__(self, other):
        return hash(self) == hash(other)

names = ["Person A", "Person B", "Person $a3"]
persons = [Person(name, id) for name, id in zip(names, [$a2])]
unique_persons = set(persons)
print(len(unique_persons))
""",
    "19": """
numbers, target = $a1, $a2

def two_sum(values, target):
    seen = {}
    for index, value in enumerate(values):
        if target - value in seen:
            return [seen[target - value], index]
        seen[value] = index

print(two_sum(numbers, target))
""",
    "21": """
elements = $numbers
even = sum(x for x in elements if x % 2 == 0)
odd = sum(x for x in elements if x % 2 != 0)
my_result = [even, odd]
print(my_result)
""",
    "22": """
elements = $lst
is_zero = [type(x) is int and x == 0 for x in elements]
zero_count = sum(is_zero)
non_zero = [x for x, zero in zip(elements, is_zero) if not zero]
result = non_zero + [0] * zero_count
print(result)
""",
    "24": """
low, high = sorted(($a, $b))
my_digits = [d for d in range(low, high + 1) if d < 10 and d % 2 == 0]
result = sum(my_digits)
print(int(result))
""",
    "25": """
my_max = max($A)
my_min = min($A)
difference = my_max - my_min
print(difference)
""",
    "29": """
my_string = "$s".lower()
count = sum(c in "aeiou" for c in my_string)
print(count)
""",
    "30": """
f = $n
values = list(range(1, f + 1))
factorial = 1
for value in values:
    factorial *= value
print(factorial)
""",
    "33": """
import math
n = $n
total = (n - 2) * 180
print(round(math.radians(total), 2))
""",
    "34": """
s1, s2 = "$s1", "$s2"
s = int(s1) + int(s2)
print(s)
""",
    "35": """
lst = $l
ma, mi = max(lst), min(lst)
print(sum(range(mi, ma + 1)))
""",
    "39": """
import re
s = '''$s'''
pattern = re.compile("[,.]")
s2 = pattern.sub("", s)
words = s2.split()
print([len(word) for word in words])
""",
    "40": """
import re
s = "$s"
s2 = s.lower()
pattern3 = re.compile("^#[0-9a-f]{3}$$")
pattern6 = re.compile("^#[0-9a-f]{6}$$")
print(bool(pattern3.match(s2) or pattern6.match(s2)))
""",
    "41": """
def count_values(values):
    counts = {}
    for value in values:
        counts[value] = counts.get(value, 0) + 1
    return counts

values = $lst
counts = count_values(values)
best = max(counts, key=counts.get, default=None)
print(best if best is not None and counts[best] > len(values) / 2 else None)
""",
    "42": """
import datetime
today = datetime.datetime($year, $month, $day)
week = today + datetime.timedelta(days=7)
print(week.strftime("%m/%d/%Y"))
""",
    "47": """
lst1 = $l
a, b = min(lst1), max(lst1)
lst2 = list(range(a, b + 1))
missing = [x for x in lst2 if x not in lst1]
print(sum(missing))
""",
    "48": """
lst1 = $l

def num_in_str(text):
    return any(c.isdigit() for c in text)

lst2 = [text for text in lst1 if num_in_str(text)]
print(lst2)
""",
    "49": """
def a(x):
    return x * $a1

def b(x):
    return x * $a2

def c(x):
    return x * $a3

abc = [a, b, c]
my_init = $a4
my_result = abc[0](my_init)
for function in abc[1:]:
    my_result = function(my_result)
print(my_result)
""",
    "51": """
my_relative_altitude = $A
my_net_altitude = [0]
for change in my_relative_altitude:
    my_net_altitude.append(my_net_altitude[-1] + change)
print(max(my_net_altitude))
""",
    "52": """
my_sentences = $A
k = $K
truncated_list = my_sentences[:k]
print(truncated_list)
""",
    "53": """
from collections import Counter
my_numbers = $A
one_time = [number for number, count in Counter(my_numbers).items() if count == 1][0]
print(one_time)
""",
    "54": """
my_numbers = $A
val = $Val
remove_numbers = [x for x in my_numbers if x != val]
print(remove_numbers)
""",
    "57": """
my_array = $A
spans = [my_array[i:j] for i in range(len(my_array)) for j in range(i + 1, len(my_array) + 1)]
max_subarray = max(spans, key=sum)
sum_subarray = sum(max_subarray)
print(sum_subarray)
""",
    "58": """
my_number = $A
square_root = my_number ** 0.5
largest_square_root = int(square_root)
print(largest_square_root)
""",
    "59": """
my_words = $A
word_count = {word: len(word) for word in my_words}
longest_word = max(word_count, key=word_count.get)
print(longest_word)
""",
    "60": """
my_numbers = $A
my_uniques = [x for x in my_numbers if my_numbers.count(x) == 1]
print(sum(my_uniques))
""",
    "63": """
a = np.array($A)
b = np.array($B)
result = a @ b
np.sum(result)
""",
    "66": """
my_points = $A
k = $K

def distance(point):
    return (point[0] ** 2 + point[1] ** 2) ** 0.5

def closest(points, k):
    return sorted(points, key=distance)[:k]

result = closest(my_points, k)
print(result[0] if k == 1 else result)
""",
    "67": """
def LCP(one, other):
    length = 0
    while length < min(len(one), len(other)) and one[length] == other[length]:
        length += 1
    return one[:length]

lst1 = $l1
prefix = lst1[0]
for word in lst1[1:]:
    prefix = LCP(prefix, word)
print(prefix)
""",
    "73": """
w1 = "$w"
w2 = "".join(reversed(w1))
print(w2)
""",
    "74": """
num = $n
lst1 = list(range(1, num + 1))
n1 = sum(x * x for x in lst1)
n2 = sum(lst1) ** 2
print(n1 - n2)
""",
    "75": """
vec1 = np.array($lst1)
vec2 = np.array($lst2)
vec1 = vec1 / np.linalg.norm(vec1)
vec2 = vec2 / np.linalg.norm(vec2)
print(np.dot(vec1, vec2))
""",
    "82": """
lst1 = $lst
lst_pos = [x for x in lst1 if x > 0]
lst_neg = [x for x in lst1 if x < 0]
lst2 = lst_pos + lst_neg
print(lst2)
""",
    "88": """
x = $x
vocab = sorted(set(x))
v2i = {value: index for index, value in enumerate(vocab)}
features = np.zeros((len(x), len(vocab)), dtype=int)
for row, value in enumerate(x):
    features[row, v2i[value]] = 1
print(features)
""",
    "89": """
x = $x
mapped = [$fun(value) for value in x]
mapped = [str(getattr(value, "__name__", value)) for value in mapped]
results = {value: [] for value in mapped}
for key, value in zip(mapped, x):
    results[key].append(value)
print(results)
""",
    "90": """
best, array = -1, $array
minimum = array[0]
for element in array[1:]:
    best = max(best, element - minimum)
    minimum = min(minimum, element)
print(best)
""",
    "96": """
stack = []
num = "$x"
for character in num:
    stack.append(character)
result = ""
while stack:
    result += stack.pop()
print(int(result))
""",
    "98": """
array = $x
diff = max(array) - min(array)
result = diff in array
print(result)
""",
    "99": """
from collections import OrderedDict
original = "$x"
dic = OrderedDict((letter, 0) for letter in original)
for letter in original:
    dic[letter] += 1
result = ""
for letter, count in dic.items():
    result += letter + str(count)
print(result)
""",
    "102": """
my_numbers = $A

def prefix_sum(values):
    return np.cumsum(values)

prefix_sum_list = prefix_sum(my_numbers)
print(max(prefix_sum_list))
""",
    "107": """
my_integer = $A

def is_prime(number):
    return number > 1 and all(number % d for d in range(2, int(number ** 0.5) + 1))

prime_result = [x for x in range(my_integer) if is_prime(x)]
print(len(prime_result))
""",
    "108": """
my_array = $A
k = $K

def rotate(values):
    return values[-1:] + values[:-1]

rotated_result = my_array
for _ in range(k):
    rotated_result = rotate(rotated_result)
print(rotated_result)
""",
    "110": """
my_number = $A
root_number = my_number ** 0.5

def integer_part(number):
    return int(number)

print(integer_part(root_number))
""",
    "111": """
my_number = $A
plus_number = my_number + 1

def digits(number):
    return [int(d) for d in str(number)]

print(digits(plus_number))
""",
    "112": """
my_number = $A

def square_sum(a, b):
    return a * a + b * b

def is_sum_of_squares(number):
    root = int(number ** 0.5) + 1
    return any(square_sum(a, b) == number for a in range(root + 1) for b in range(a, root + 1))

print("True" if is_sum_of_squares(my_number) else "False")
""",
    "114": """
my_matrix = $A
row_number = len(my_matrix)
column_number = len(my_matrix[0])
row_number + column_number
""",
    "115": """
my_array = $A
mean_number = np.mean(my_array)
median_number = np.median(my_array)
print(mean_number - median_number)
""",
}
