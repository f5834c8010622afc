//===- ChatTemplateInterpreter.cpp - Renders chat templates ---------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Runs in the compiler alone, on probing conversations. A template can do
// nothing but make text: there are no files, no modules, no attributes of the
// host, and steps and strings are bounded.
//
//===----------------------------------------------------------------------===//

#include "importer/ChatTemplateProgram.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/SmallVector.h"

#include <algorithm>

using namespace llvm;

namespace sputnik::jinja {

Value Value::boolean(bool value) {
  Value result;
  result.kind = Bool;
  result.integer = value;
  return result;
}

Value Value::number(int64_t value) {
  Value result;
  result.kind = Int;
  result.integer = value;
  return result;
}

Value Value::text(StringRef value) {
  Value result;
  result.kind = String;
  result.string = value.str();
  return result;
}

Value Value::none() {
  Value result;
  result.kind = None;
  return result;
}

Value Value::newList() {
  Value result;
  result.kind = List;
  result.list = std::make_shared<std::vector<Value>>();
  return result;
}

Value Value::newObject() {
  Value result;
  result.kind = Object;
  result.object = std::make_shared<std::map<std::string, Value>>();
  return result;
}

bool Value::truthy() const {
  switch (kind) {
  case Undefined:
  case None:
    return false;
  case Bool:
  case Int:
    return integer != 0;
  case String:
    return !string.empty();
  case List:
    return !list->empty();
  case Object:
    return !object->empty();
  }
  return false;
}

bool Value::operator==(const Value &other) const {
  const bool numbers = (kind == Bool || kind == Int) &&
                       (other.kind == Bool || other.kind == Int);
  if (numbers)
    return integer == other.integer;
  if (kind != other.kind)
    return false;
  switch (kind) {
  case String:
    return string == other.string;
  case List:
    return list == other.list;
  case Object:
    return object == other.object;
  default:
    return true;
  }
}

namespace {

class Interpreter {
public:
  Interpreter(const std::map<std::string, Value> &globals, std::string &out,
              std::string &error)
      : out(out), error(error) {
    scopes.push_back(globals);
  }

  RenderResult run(const Program &program) {
    execute(program.statements);
    return result;
  }

private:
  Value fail(const std::string &message,
             RenderResult kind = RenderResult::Failed) {
    if (result == RenderResult::Done) {
      result = kind;
      error = message;
    }
    return {};
  }
  bool failed() const { return result != RenderResult::Done; }

  bool step() {
    if (++steps > maxSteps)
      fail("it takes too many steps");
    return !failed();
  }

  Value makeString(std::string text) {
    if (text.size() > maxStringBytes)
      return fail("it makes a very long text");
    return Value::text(text);
  }

  //===--- Statements -------------------------------------------------------===

  void execute(const std::vector<Statement> &body) {
    for (const Statement &statement : body) {
      if (!step())
        return;
      switch (statement.kind) {
      case Statement::Text:
        write(statement.text);
        break;
      case Statement::Output:
        write(toText(evaluate(*statement.expression)));
        break;
      case Statement::If:
        executeIf(statement);
        break;
      case Statement::For:
        executeFor(statement);
        break;
      case Statement::Set:
        executeSet(statement);
        break;
      }
    }
  }

  void write(StringRef text) {
    if (failed())
      return;
    if (out.size() + text.size() > maxStringBytes)
      fail("it makes a very long text");
    else
      out += text;
  }

  void executeIf(const Statement &statement) {
    for (size_t i = 0; i < statement.conditions.size(); ++i)
      if (evaluate(*statement.conditions[i]).truthy() || failed())
        return failed() ? void() : execute(statement.bodies[i]);
    if (statement.bodies.size() > statement.conditions.size())
      execute(statement.bodies.back());
  }

  void executeFor(const Statement &statement) {
    const Value over = evaluate(*statement.expression);
    if (failed() || over.kind == Value::Undefined)
      return;
    if (over.kind != Value::List)
      return void(fail("it loops over what is not a list"));
    std::vector<Value> elements;
    for (const Value &element : *over.list) {
      if (!statement.conditions.empty()) {
        scopes.push_back({{statement.text, element}});
        const bool keep = evaluate(*statement.conditions[0]).truthy();
        scopes.pop_back();
        if (!keep)
          continue;
      }
      elements.push_back(element);
    }
    for (size_t i = 0; i < elements.size() && step(); ++i) {
      Value loop = Value::newObject();
      auto &fields = *loop.object;
      fields["index"] = Value::number(static_cast<int64_t>(i) + 1);
      fields["index0"] = Value::number(static_cast<int64_t>(i));
      fields["first"] = Value::boolean(i == 0);
      fields["last"] = Value::boolean(i + 1 == elements.size());
      fields["length"] = Value::number(static_cast<int64_t>(elements.size()));
      scopes.push_back({{statement.text, elements[i]}, {"loop", loop}});
      execute(statement.bodies[0]);
      scopes.pop_back();
    }
  }

  void executeSet(const Statement &statement) {
    Value value = evaluate(*statement.expression);
    if (failed())
      return;
    if (statement.attribute.empty()) {
      scopes.back()[statement.text] = std::move(value);
      return;
    }
    // A namespace that held itself would never be freed.
    if (value.kind == Value::List || value.kind == Value::Object)
      return void(fail("it keeps a list in a namespace"));
    const Value target = find(statement.text);
    if (target.kind != Value::Object)
      return void(fail("'" + statement.text + "' is no namespace"));
    (*target.object)[statement.attribute] = std::move(value);
  }

  //===--- Expressions ------------------------------------------------------===

  Value find(const std::string &name) const {
    for (const auto &scope : reverse(scopes))
      if (const auto found = scope.find(name); found != scope.end())
        return found->second;
    return {};
  }

  std::string toText(const Value &value) {
    switch (value.kind) {
    case Value::Undefined:
      return "";
    case Value::None:
      return "None";
    case Value::Bool:
      return value.integer ? "True" : "False";
    case Value::Int:
      return std::to_string(value.integer);
    case Value::String:
      return value.string;
    default:
      fail("it writes a list or an object");
      return "";
    }
  }

  Value evaluate(const Expression &e) {
    if (!step())
      return {};
    switch (e.kind) {
    case Expression::Literal:
      return e.literal;
    case Expression::Name:
      return find(e.text);
    case Expression::ListOf: {
      Value list = Value::newList();
      for (const auto &element : e.arguments)
        list.list->push_back(evaluate(*element));
      return list;
    }
    case Expression::Attribute:
      return member(evaluate(*e.arguments[0]), Value::text(e.text));
    case Expression::Index: {
      const Value base = evaluate(*e.arguments[0]);
      return member(base, evaluate(*e.arguments[1]));
    }
    case Expression::Slice:
      return slice(e);
    case Expression::Call:
      return call(e);
    case Expression::Filter:
      return filter(e);
    case Expression::Test:
      return test(e);
    case Expression::Not:
      return Value::boolean(!evaluate(*e.arguments[0]).truthy());
    case Expression::Minus: {
      const Value operand = evaluate(*e.arguments[0]);
      if (operand.kind != Value::Int)
        return fail("it negates what is not a number");
      return Value::number(-operand.integer);
    }
    case Expression::Binary:
      return binary(e);
    case Expression::Conditional:
      return evaluate(evaluate(*e.arguments[0]).truthy() ? *e.arguments[1]
                                                         : *e.arguments[2]);
    }
    return {};
  }

  Value member(const Value &base, const Value &key) {
    if (base.kind == Value::Object && key.kind == Value::String) {
      const auto found = base.object->find(key.string);
      return found == base.object->end() ? Value() : found->second;
    }
    if (base.kind == Value::List && key.kind == Value::Int) {
      const auto size = static_cast<int64_t>(base.list->size());
      const int64_t at = key.integer < 0 ? key.integer + size : key.integer;
      return at >= 0 && at < size ? (*base.list)[static_cast<size_t>(at)]
                                  : Value();
    }
    if (failed())
      return {};
    return fail("it takes a member of what has none");
  }

  Value slice(const Expression &e) {
    const Value base = evaluate(*e.arguments[0]);
    if (base.kind != Value::List)
      return fail("it slices what is not a list");
    const auto size = static_cast<int64_t>(base.list->size());
    const auto bound = [&](const std::unique_ptr<Expression> &argument,
                           int64_t missing) {
      const Value value = argument ? evaluate(*argument) : Value::none();
      const int64_t at = value.kind == Value::Int ? value.integer : missing;
      return std::clamp<int64_t>(at < 0 ? at + size : at, 0, size);
    };
    const int64_t begin = bound(e.arguments[1], 0);
    const int64_t end = bound(e.arguments[2], size);
    Value result = Value::newList();
    if (begin < end)
      result.list->assign(base.list->begin() + begin, base.list->begin() + end);
    return result;
  }

  Value binary(const Expression &e) {
    const std::string &op = e.text;
    const Value left = evaluate(*e.arguments[0]);
    if (op == "or")
      return left.truthy() ? left : evaluate(*e.arguments[1]);
    if (op == "and")
      return left.truthy() ? evaluate(*e.arguments[1]) : left;
    const Value right = evaluate(*e.arguments[1]);
    if (failed())
      return {};
    if (op == "==")
      return Value::boolean(left == right);
    if (op == "!=")
      return Value::boolean(!(left == right));
    if (op == "in" || op == "not in")
      return contains(right, left, op == "in");
    if (op == "~")
      return makeString(toText(left) + toText(right));
    if (left.kind == Value::String && right.kind == Value::String) {
      if (op == "+")
        return makeString(left.string + right.string);
      return compare(op, left.string.compare(right.string));
    }
    if ((left.kind != Value::Int && left.kind != Value::Bool) ||
        (right.kind != Value::Int && right.kind != Value::Bool))
      return fail("'" + op + "' is used on a text or value that has it not");
    int64_t number = 0;
    if (op == "+" || op == "-" || op == "*") {
      const bool overflow =
          op == "+"
              ? __builtin_add_overflow(left.integer, right.integer, &number)
          : op == "-"
              ? __builtin_sub_overflow(left.integer, right.integer, &number)
              : __builtin_mul_overflow(left.integer, right.integer, &number);
      return overflow ? fail("a number is too large") : Value::number(number);
    }
    if (op == "%") {
      if (right.integer <= 0)
        return fail("it takes a remainder by zero or less");
      number = left.integer % right.integer;
      return Value::number(number < 0 ? number + right.integer : number);
    }
    return compare(op, left.integer < right.integer   ? -1
                       : left.integer > right.integer ? 1
                                                      : 0);
  }

  Value compare(StringRef op, int order) {
    if (op == "<")
      return Value::boolean(order < 0);
    if (op == "<=")
      return Value::boolean(order <= 0);
    if (op == ">")
      return Value::boolean(order > 0);
    if (op == ">=")
      return Value::boolean(order >= 0);
    return fail("'" + op.str() +
                "' is used on a text or value that has it not");
  }

  Value contains(const Value &in, const Value &what, bool wanted) {
    bool found = false;
    if (in.kind == Value::String && what.kind == Value::String)
      found = StringRef(in.string).contains(what.string);
    else if (in.kind == Value::Object && what.kind == Value::String)
      found = in.object->count(what.string) != 0;
    else if (in.kind == Value::List)
      found = is_contained(*in.list, what);
    else if (in.kind != Value::Undefined)
      return fail("'in' is used on what holds nothing");
    return Value::boolean(found == wanted);
  }

  Value test(const Expression &e) {
    const Value value = evaluate(*e.arguments[0]);
    const std::string &name = e.text;
    if (name == "defined")
      return Value::boolean(value.kind != Value::Undefined);
    if (name == "undefined")
      return Value::boolean(value.kind == Value::Undefined);
    if (name == "none")
      return Value::boolean(value.kind == Value::None);
    if (name == "string")
      return Value::boolean(value.kind == Value::String);
    if (name == "mapping")
      return Value::boolean(value.kind == Value::Object);
    if (name == "iterable" || name == "sequence")
      return Value::boolean(value.kind == Value::String ||
                            value.kind == Value::List ||
                            value.kind == Value::Object);
    if (name == "true" || name == "false")
      return Value::boolean(value.kind == Value::Bool &&
                            value.integer == (name == "true"));
    return fail("the test '" + name + "' is not understood");
  }

  Value filter(const Expression &e) {
    const Value value = evaluate(*e.arguments[0]);
    const std::string &name = e.text;
    if (failed())
      return {};
    if (name == "trim" && value.kind == Value::String)
      return Value::text(StringRef(value.string).trim());
    if (name == "string")
      return Value::text(toText(value));
    if ((name == "length" || name == "count") && value.kind == Value::List)
      return Value::number(static_cast<int64_t>(value.list->size()));
    if ((name == "first" || name == "last") && value.kind == Value::List)
      return member(value, Value::number(name == "first" ? 0 : -1));
    if ((name == "default" || name == "d") && e.arguments.size() == 2)
      return value.kind == Value::Undefined ? evaluate(*e.arguments[1]) : value;
    return fail("the filter '" + name + "' is not understood");
  }

  Value call(const Expression &e) {
    const Expression &callee = *e.arguments[0];
    std::vector<Value> arguments;
    for (size_t i = 1; i < e.arguments.size(); ++i)
      arguments.push_back(evaluate(*e.arguments[i]));
    if (failed())
      return {};
    if (callee.kind == Expression::Attribute)
      return method(evaluate(*callee.arguments[0]), callee.text, arguments);
    if (callee.kind == Expression::Name && callee.text == "namespace") {
      Value result = Value::newObject();
      for (size_t i = 0; i < arguments.size(); ++i) {
        if (e.names[i].empty() || arguments[i].kind == Value::List ||
            arguments[i].kind == Value::Object)
          return fail("it makes a namespace of lists");
        (*result.object)[e.names[i]] = arguments[i];
      }
      return result;
    }
    if (callee.kind == Expression::Name && callee.text == "raise_exception")
      return fail("it refuses the conversation", RenderResult::Raised);
    return fail("the function '" + callee.text + "' is not understood");
  }

  Value method(const Value &base, const std::string &name,
               const std::vector<Value> &arguments) {
    if (failed())
      return {};
    const bool oneText =
        arguments.size() == 1 && arguments[0].kind == Value::String;
    if (base.kind == Value::String) {
      const StringRef text = base.string;
      if (name == "strip" && arguments.empty())
        return Value::text(text.trim());
      if (name == "lstrip" && arguments.empty())
        return Value::text(text.ltrim());
      if (name == "rstrip" && arguments.empty())
        return Value::text(text.rtrim());
      if (name == "startswith" && oneText)
        return Value::boolean(text.starts_with(arguments[0].string));
      if (name == "endswith" && oneText)
        return Value::boolean(text.ends_with(arguments[0].string));
      if (name == "split" && oneText && !arguments[0].string.empty()) {
        Value parts = Value::newList();
        SmallVector<StringRef, 4> pieces;
        text.split(pieces, arguments[0].string);
        for (StringRef piece : pieces)
          parts.list->push_back(Value::text(piece));
        return parts;
      }
    }
    if (base.kind == Value::Object && name == "get" && !arguments.empty() &&
        arguments[0].kind == Value::String) {
      const Value found = member(base, arguments[0]);
      if (found.kind != Value::Undefined)
        return found;
      return arguments.size() > 1 ? arguments[1] : Value::none();
    }
    return fail("the method '" + name + "' is not understood");
  }

  std::string &out;
  std::string &error;
  RenderResult result = RenderResult::Done;
  unsigned steps = 0;
  std::vector<std::map<std::string, Value>> scopes;
};

} // namespace

RenderResult renderTemplate(const Program &program,
                            const std::map<std::string, Value> &globals,
                            std::string &out, std::string &error) {
  out.clear();
  error.clear();
  return Interpreter(globals, out, error).run(program);
}

} // namespace sputnik::jinja
