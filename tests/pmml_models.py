"""PMML documents as the exporters write them. Source: https://dmg.org/pmml/v4-4-1."""

from collections.abc import Iterable

_HEAD = """\
<?xml version="1.0" encoding="UTF-8"?>
<PMML xmlns="http://www.dmg.org/PMML-4_4" version="4.4">
  <Header><Application name="tests"/></Header>
"""
_PROBABILITIES = """\
    <Output>
      <OutputField name="probability(no)" optype="continuous" dataType="double"
        feature="probability" value="no"/>
      <OutputField name="probability(yes)" optype="continuous" dataType="double"
        feature="probability" value="yes"/>
    </Output>
"""


def field(name: str, data_type: str, *values: str) -> str:
    """A field of the data dictionary, categorical if it has values."""
    optype = "categorical" if values else "continuous"
    inner = "".join(f'<Value value="{value}"/>' for value in values)
    return f'<DataField name="{name}" optype="{optype}" dataType="{data_type}">{inner}</DataField>'


def document(fields: Iterable[str], model: str) -> str:
    dictionary = "\n    ".join(fields)
    return f"{_HEAD}  <DataDictionary>\n    {dictionary}\n  </DataDictionary>\n{model}\n</PMML>\n"


def logistic_regression(intercept: float = -31.0) -> str:
    """Of a number, a whole number and a word; a missing age counts as 50."""
    return document(
        [
            field("y", "string", "no", "yes"),
            field("age", "double"),
            field("visits", "integer"),
            field("colour", "string", "blue", "gr\u00fcn", "red"),
        ],
        f"""\
  <RegressionModel functionName="classification" normalizationMethod="logit">
    <MiningSchema>
      <MiningField name="y" usageType="target"/>
      <MiningField name="age" missingValueReplacement="50"/>
      <MiningField name="visits"/>
      <MiningField name="colour"/>
    </MiningSchema>
{_PROBABILITIES}\
    <RegressionTable intercept="{intercept}" targetCategory="yes">
      <NumericPredictor name="age" coefficient="0.6"/>
      <NumericPredictor name="visits" coefficient="0.25"/>
      <CategoricalPredictor name="colour" value="blue" coefficient="-1.5"/>
      <CategoricalPredictor name="colour" value="gr\u00fcn" coefficient="1.25"/>
      <CategoricalPredictor name="colour" value="red" coefficient="3.25"/>
    </RegressionTable>
    <RegressionTable intercept="0" targetCategory="no"/>
  </RegressionModel>""",
    )


def half_plus_two(data_type: str = "double", input_name: str = "x") -> str:
    """y = x / 2 + 2."""
    return document(
        [field("y", "double"), field(input_name, data_type)],
        f"""\
  <RegressionModel functionName="regression">
    <MiningSchema>
      <MiningField name="y" usageType="target"/><MiningField name="{input_name}"/>
    </MiningSchema>
    <RegressionTable intercept="2">
      <NumericPredictor name="{input_name}" coefficient="0.5"/>
    </RegressionTable>
  </RegressionModel>""",
    )


def large_tree(leaves: int) -> str:
    """A flat regression tree: the score is the number of the leaf."""
    nodes = "\n".join(
        f'<Node score="{leaf}"><SimplePredicate field="x" operator="lessThan" '
        f'value="{leaf + 1}"/></Node>'
        for leaf in range(leaves)
    )
    return document(
        [field("y", "double"), field("x", "double")],
        f"""\
  <TreeModel functionName="regression" splitCharacteristic="multiSplit">
    <MiningSchema><MiningField name="y" usageType="target"/><MiningField name="x"/></MiningSchema>
    <Node score="-1"><True/>{nodes}</Node>
  </TreeModel>""",
    )
