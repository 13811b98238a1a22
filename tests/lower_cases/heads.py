"""ai.onnx.ml: heads that scikit-learn's converters put behind an encoder."""
import numpy as np

from lower_cases.base import ML, case, f, i64, part


@part
def linear_heads():
    x, one, many = f(4, 3), [float(v) for v in f(3)], [float(v) for v in f(9)]

    def classifier(name, labels, weights, transform, given=x, **more):
        case(f"linear_classifier_{name}", "LinearClassifier", [given], 2, domain=ML, classlabels_ints=labels, coefficients=weights, post_transform=transform, **more)

    for transform in ("NONE", "LOGISTIC", "SOFTMAX"):
        classifier(f"two_{transform.lower()}", [3, 5], one, transform, intercepts=[0.1])
        classifier(f"three_{transform.lower()}", [7, 1, 4], many, transform, intercepts=[0.1, -0.2, 0.3])
    classifier("two_rows", [0, 1], many[:6], "LOGISTIC", intercepts=[0.1, 0.2])
    classifier("one_sample", [0, 1, 2], many, "SOFTMAX", given=x[0], intercepts=[0.1, 0.2, 0.3])
    case("linear_regressor", "LinearRegressor", [x], domain=ML, coefficients=one, intercepts=[0.5])
    case("linear_regressor_softmax", "LinearRegressor", [x], domain=ML, coefficients=many, targets=3, post_transform="SOFTMAX")


@part
def features():
    x = f(4, 3)
    zeros = x * np.array([[1], [0], [1], [1]], np.float32)
    case("scaler", "Scaler", [x], domain=ML, offset=[0.5, -1.0, 0.0], scale=[2.0, 0.5, 1.0])
    case("scaler_one", "Scaler", [x], domain=ML, offset=[0.5], scale=[2.0])
    for norm in ("MAX", "L1", "L2"):
        case(f"normalizer_{norm.lower()}", "Normalizer", [x], domain=ML, norm=norm)
        case(f"normalizer_{norm.lower()}_zeros", "Normalizer", [zeros], domain=ML, fixed=(0,), norm=norm)
    case("array_features", "ArrayFeatureExtractor", [x, i64(2, 0)], domain=ML, fixed=(1,))
    case("array_features_one_axis", "ArrayFeatureExtractor", [x[0], np.array([[1]], np.int64)], domain=ML, fixed=(1,))
    case("feature_vectorizer", "FeatureVectorizer", [x, f(4, 2)], domain=ML, inputdimensions=[2, 2])
    case("binarizer", "Binarizer", [x], domain=ML, threshold=0.25)
