"""Models of every framework saved as versions that a server can pick up.

    from salver.export import Classify, export_model

    print(export_model(model, "/models/income", signatures=Classify(classes=["no", "yes"])))

TensorFlow and the other frameworks are imported only when a model of theirs is exported.
"""

from salver.export.exported import Exported
from salver.export.exporting import export_model
from salver.export.signatures import Classify, Predict, Regress
from salver.export.warm_up_file import WarmUp

__all__ = ["Classify", "Exported", "Predict", "Regress", "WarmUp", "export_model"]
