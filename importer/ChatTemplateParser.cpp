//===- ChatTemplateParser.cpp - Parses the Jinja of chat templates --------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "importer/ChatTemplateLexer.h"
#include "importer/ChatTemplateProgram.h"
#include "importer/InputError.h"

#include <initializer_list>

using namespace llvm;

namespace sputnik::jinja {
namespace {

using ExpressionPtr = std::unique_ptr<Expression>;

class Parser {
public:
  Parser(StringRef text, std::string &error) : source(text), error(error) {}

  bool run(Program &program) {
    if (!cutTemplate(source, chunks, error))
      return false;
    std::string end;
    if (!parseBody(program.statements, end, 0))
      return false;
    return end.empty() || fail("'" + end + "' stands alone");
  }

private:
  bool fail(const std::string &message) {
    if (error.empty())
      error = message;
    return false;
  }

  //===--- Tokens -----------------------------------------------------------===

  const Token &peek() const {
    static const Token end;
    return next < tokens.size() ? tokens[next] : end;
  }
  bool is(Token::Kind kind, StringRef text) const {
    return peek().kind == kind && peek().text == text;
  }
  bool accept(Token::Kind kind, StringRef text) {
    if (!is(kind, text))
      return false;
    ++next;
    return true;
  }
  bool acceptName(StringRef text) { return accept(Token::Name, text); }
  bool acceptOperator(StringRef text) { return accept(Token::Operator, text); }
  bool expectOperator(StringRef text) {
    return acceptOperator(text) || fail("'" + text.str() + "' is missing");
  }
  bool expectName(std::string &name) {
    if (peek().kind != Token::Name)
      return fail("a name is missing");
    name = tokens[next++].text;
    return true;
  }
  bool expectEnd() {
    return peek().kind == Token::End ||
           fail(quoted(peek().text) + " is not understood");
  }

  //===--- Statements -------------------------------------------------------===

  /// Parses up to a block that closes or divides the body, whose name becomes
  /// `end` and whose tokens are then current; empty at the end of the text.
  bool parseBody(std::vector<Statement> &body, std::string &end,
                 unsigned depth) {
    if (depth > maxNesting)
      return fail("its blocks are nested too deep");
    end.clear();
    while (chunk < chunks.size()) {
      const Chunk &current = chunks[chunk++];
      if (current.kind == Chunk::Text) {
        body.emplace_back();
        body.back().kind = Statement::Text;
        body.back().text = current.text;
        continue;
      }
      next = 0;
      if (!tokenizeTag(current.text, tokens, error))
        return false;
      if (current.kind == Chunk::Output) {
        body.emplace_back();
        body.back().kind = Statement::Output;
        if (!parseExpression(body.back().expression) || !expectEnd())
          return false;
        continue;
      }
      std::string name;
      if (!expectName(name))
        return false;
      if (name == "elif" || name == "else" || name == "endif" ||
          name == "endfor") {
        end = name;
        return true;
      }
      body.emplace_back();
      if (name == "if"    ? !parseIf(body.back(), depth)
          : name == "for" ? !parseFor(body.back(), depth)
          : name == "set" ? !parseSet(body.back())
                          : !fail("the block '" + name + "' is not understood"))
        return false;
    }
    return true;
  }

  bool parseIf(Statement &statement, unsigned depth) {
    statement.kind = Statement::If;
    std::string end = "elif";
    while (end == "elif" || end == "else") {
      const bool isElse = end == "else";
      if (!isElse && !parseExpression(statement.conditions.emplace_back()))
        return false;
      if (!expectEnd() ||
          !parseBody(statement.bodies.emplace_back(), end, depth + 1))
        return false;
      if (isElse && end != "endif")
        break;
    }
    return end == "endif" ? expectEnd() : fail("an 'if' does not end");
  }

  bool parseFor(Statement &statement, unsigned depth) {
    statement.kind = Statement::For;
    if (!expectName(statement.text))
      return false;
    if (!acceptName("in"))
      return fail("'in' is missing");
    // A condition here belongs to the loop.
    if (!parseOr(statement.expression))
      return false;
    if (acceptName("if") && !parseOr(statement.conditions.emplace_back()))
      return false;
    std::string end;
    if (!expectEnd() ||
        !parseBody(statement.bodies.emplace_back(), end, depth + 1))
      return false;
    return end == "endfor" ? expectEnd() : fail("a 'for' does not end");
  }

  bool parseSet(Statement &statement) {
    statement.kind = Statement::Set;
    if (!expectName(statement.text))
      return false;
    if (acceptOperator(".") && !expectName(statement.attribute))
      return false;
    return expectOperator("=") && parseExpression(statement.expression) &&
           expectEnd();
  }

  //===--- Expressions ------------------------------------------------------===

  static ExpressionPtr make(Expression::Kind kind, StringRef text = {}) {
    auto expression = std::make_unique<Expression>();
    expression->kind = kind;
    expression->text = text.str();
    return expression;
  }

  /// Makes `child` an argument; bounds the depth of the tree, which rendering
  /// descends into.
  bool adopt(Expression &parent, ExpressionPtr child) {
    if (child && child->depth + 1 > parent.depth)
      parent.depth = child->depth + 1;
    parent.arguments.push_back(std::move(child));
    return parent.depth <= maxNesting ||
           fail("its expressions are nested too deep");
  }

  /// Counts the recursion of the functions below.
  struct Nested {
    explicit Nested(Parser &parser) : parser(parser) { ++parser.nesting; }
    ~Nested() { --parser.nesting; }
    bool ok() {
      return parser.nesting <= maxNesting ||
             parser.fail("its expressions are nested too deep");
    }
    Parser &parser;
  };

  bool parseExpression(ExpressionPtr &out) {
    Nested nested(*this);
    if (!nested.ok() || !parseOr(out))
      return false;
    if (!acceptName("if"))
      return true;
    ExpressionPtr result = make(Expression::Conditional), condition, other;
    if (!parseOr(condition))
      return false;
    if (acceptName("else")) {
      if (!parseExpression(other))
        return false;
    } else {
      other = make(Expression::Literal);
    }
    if (!adopt(*result, std::move(condition)) ||
        !adopt(*result, std::move(out)) || !adopt(*result, std::move(other)))
      return false;
    out = std::move(result);
    return true;
  }

  /// Wraps `left` and the operand that `parse` reads into a Binary.
  bool finishBinary(ExpressionPtr &left, StringRef op,
                    bool (Parser::*parse)(ExpressionPtr &)) {
    ExpressionPtr right, result = make(Expression::Binary, op);
    if (!(this->*parse)(right) || !adopt(*result, std::move(left)) ||
        !adopt(*result, std::move(right)))
      return false;
    left = std::move(result);
    return true;
  }

  bool parseOr(ExpressionPtr &out) {
    if (!parseAnd(out))
      return false;
    while (acceptName("or"))
      if (!finishBinary(out, "or", &Parser::parseAnd))
        return false;
    return true;
  }

  bool parseAnd(ExpressionPtr &out) {
    if (!parseNot(out))
      return false;
    while (acceptName("and"))
      if (!finishBinary(out, "and", &Parser::parseNot))
        return false;
    return true;
  }

  bool parseNot(ExpressionPtr &out) {
    Nested nested(*this);
    if (!nested.ok())
      return false;
    if (!acceptName("not"))
      return parseComparison(out);
    ExpressionPtr operand;
    out = make(Expression::Not);
    return parseNot(operand) && adopt(*out, std::move(operand));
  }

  /// The comparison that comes next; empty if none does.
  std::string acceptComparison() {
    for (StringRef candidate : {"==", "!=", "<=", ">=", "<", ">"})
      if (acceptOperator(candidate))
        return candidate.str();
    if (acceptName("in"))
      return "in";
    if (is(Token::Name, "not") && next + 1 < tokens.size() &&
        tokens[next + 1].kind == Token::Name && tokens[next + 1].text == "in") {
      next += 2;
      return "not in";
    }
    return "";
  }

  bool parseComparison(ExpressionPtr &out) {
    if (!parseConcatenation(out))
      return false;
    const std::string op = acceptComparison();
    if (op.empty())
      return true;
    if (!finishBinary(out, op, &Parser::parseConcatenation))
      return false;
    return acceptComparison().empty() ||
           fail("a chain of comparisons is not understood");
  }

  bool parseLeft(ExpressionPtr &out, std::initializer_list<StringRef> operators,
                 bool (Parser::*parse)(ExpressionPtr &)) {
    if (!(this->*parse)(out))
      return false;
    while (true) {
      StringRef op;
      for (StringRef candidate : operators)
        if (op.empty() && acceptOperator(candidate))
          op = candidate;
      if (op.empty())
        return true;
      if (!finishBinary(out, op, parse))
        return false;
    }
  }

  bool parseConcatenation(ExpressionPtr &out) {
    return parseLeft(out, {"~"}, &Parser::parseSum);
  }
  bool parseSum(ExpressionPtr &out) {
    return parseLeft(out, {"+", "-"}, &Parser::parseProduct);
  }
  bool parseProduct(ExpressionPtr &out) {
    return parseLeft(out, {"*", "%"}, &Parser::parseUnary);
  }

  bool parseUnary(ExpressionPtr &out) {
    Nested nested(*this);
    if (!nested.ok())
      return false;
    if (acceptOperator("-")) {
      ExpressionPtr operand;
      out = make(Expression::Minus);
      return parseUnary(operand) && adopt(*out, std::move(operand));
    }
    return parsePrimary(out) && parsePostfix(out);
  }

  bool parsePrimary(ExpressionPtr &out) {
    const Token token = peek();
    ++next;
    out = make(Expression::Literal);
    switch (token.kind) {
    case Token::String:
      out->literal = Value::text(token.text);
      return true;
    case Token::Integer:
      out->literal = Value::number(std::stoll(token.text));
      return true;
    case Token::Name:
      if (token.text == "true" || token.text == "True")
        out->literal = Value::boolean(true);
      else if (token.text == "false" || token.text == "False")
        out->literal = Value::boolean(false);
      else if (token.text == "none" || token.text == "None")
        out->literal = Value::none();
      else
        out = make(Expression::Name, token.text);
      return true;
    case Token::Operator:
      if (token.text == "(")
        return parseExpression(out) && expectOperator(")");
      if (token.text == "[") {
        out = make(Expression::ListOf);
        while (!acceptOperator("]")) {
          ExpressionPtr element;
          if (!parseExpression(element) || !adopt(*out, std::move(element)))
            return false;
          if (!acceptOperator(",") && !is(Token::Operator, "]"))
            return fail("']' is missing");
        }
        return true;
      }
      return fail("'" + token.text + "' is not understood");
    case Token::End:
      return fail("an expression is missing");
    }
    return false;
  }

  bool parsePostfix(ExpressionPtr &out) {
    while (true) {
      ExpressionPtr result;
      if (acceptOperator(".")) {
        result = make(Expression::Attribute);
        if (!expectName(result->text) || !adopt(*result, std::move(out)))
          return false;
      } else if (acceptOperator("[")) {
        if (!parseSubscript(out, result))
          return false;
      } else if (acceptOperator("(")) {
        result = make(Expression::Call);
        if (!adopt(*result, std::move(out)) || !parseArguments(*result))
          return false;
      } else if (acceptOperator("|")) {
        result = make(Expression::Filter);
        if (!expectName(result->text) || !adopt(*result, std::move(out)))
          return false;
        if (acceptOperator("(") && !parseArguments(*result))
          return false;
      } else if (acceptName("is")) {
        const bool negated = acceptName("not");
        result = make(Expression::Test);
        if (!expectName(result->text) || !adopt(*result, std::move(out)))
          return false;
        if (negated) {
          ExpressionPtr inner = std::move(result);
          result = make(Expression::Not);
          if (!adopt(*result, std::move(inner)))
            return false;
        }
      } else {
        return true;
      }
      out = std::move(result);
    }
  }

  bool parseSubscript(ExpressionPtr &base, ExpressionPtr &result) {
    ExpressionPtr first, second;
    bool slice = false;
    if (!is(Token::Operator, ":") && !parseExpression(first))
      return false;
    if (acceptOperator(":")) {
      slice = true;
      if (!is(Token::Operator, "]") && !parseExpression(second))
        return false;
    }
    result = make(slice ? Expression::Slice : Expression::Index);
    if (!adopt(*result, std::move(base)) || !adopt(*result, std::move(first)))
      return false;
    if (slice && !adopt(*result, std::move(second)))
      return false;
    return expectOperator("]");
  }

  bool parseArguments(Expression &call) {
    while (!acceptOperator(")")) {
      std::string name;
      if (peek().kind == Token::Name && next + 1 < tokens.size() &&
          tokens[next + 1].kind == Token::Operator &&
          tokens[next + 1].text == "=") {
        name = peek().text;
        next += 2;
      }
      ExpressionPtr argument;
      if (!parseExpression(argument) || !adopt(call, std::move(argument)))
        return false;
      call.names.push_back(name);
      if (!acceptOperator(",") && !is(Token::Operator, ")"))
        return fail("')' is missing");
    }
    return true;
  }

  StringRef source;
  std::string &error;
  std::vector<Chunk> chunks;
  size_t chunk = 0;
  std::vector<Token> tokens;
  size_t next = 0;
  unsigned nesting = 0;
};

} // namespace

bool parseTemplate(StringRef text, Program &program, std::string &error) {
  error.clear();
  return Parser(text, error).run(program);
}

} // namespace sputnik::jinja
